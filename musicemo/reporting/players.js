// Players of a page. An element of the class "heard" has an audio element, points of the class "plays" that choose its
// track, and marks of the class "cursor" that follow it.
"use strict";

// One track sounds at a time.
document.addEventListener("play", ({target}) => {
  for (const other of document.querySelectorAll("audio")) if (other !== target) other.pause();
}, true);

// Return a function that moves a mark to its place at a time in seconds.
function mover(mark) {
  const [times, x, y] = ["times", "x", "y"].map(name => JSON.parse(mark.dataset[name] ?? "null"));
  return now => {
    const shown = now >= times[0] && now <= times.at(-1);
    mark.classList.toggle("shown", shown);
    if (!shown) return;
    const after = Math.max(1, times.findIndex(time => time > now));
    const last = now >= times.at(-1) ? times.length - 1 : after;
    const before = Math.max(last - 1, 0);
    const share = last === before ? 0 : (now - times[before]) / (times[last] - times[before]);
    const at = places => places ? places[before] + share * (places[last] - places[before]) : 0;
    mark.setAttribute("transform", `translate(${at(x)} ${at(y)})`);
  };
}

// Move the cursors of an element with its player; a click on a chart with a time axis moves the player.
function follow(audio, root) {
  const cursors = [...root.querySelectorAll(".cursor")];
  const moves = cursors.map(mover);
  const start = () => Number(audio.dataset.start ?? 0);
  const draw = () => {
    for (const move of moves) move(audio.currentTime + start());
    if (!audio.paused) requestAnimationFrame(draw);
  };
  for (const event of ["play", "seeked"]) audio.addEventListener(event, draw);
  for (const mark of cursors.filter(mark => !mark.dataset.y)) {
    const [times, x] = [JSON.parse(mark.dataset.times), JSON.parse(mark.dataset.x)];
    const svg = mark.ownerSVGElement;
    svg.classList.add("seekable");
    svg.addEventListener("click", event => {
      const place = new DOMPoint(event.clientX, event.clientY).matrixTransform(svg.getScreenCTM().inverse()).x;
      const share = (place - x[0]) / (x.at(-1) - x[0]);
      if (share < 0 || share > 1) return;
      audio.currentTime = Math.max(times[0] + share * (times.at(-1) - times[0]) - start(), 0);
      audio.play();
    });
  }
}

// Let the points of an element play their tracks: by a click, or with the arrow keys and Enter.
function choose(audio, root) {
  const points = [...root.querySelectorAll(".plays")];
  const caption = root.querySelector(".playing-now");
  const play = point => {
    audio.src = point.dataset.audio;
    audio.dataset.start = point.dataset.start;
    caption.textContent = point.querySelector("title")?.textContent ?? "";
    for (const one of points) one.classList.toggle("chosen", one.dataset.audio === point.dataset.audio);
    audio.play();
  };
  const reach = point => {
    for (const one of points) if (one.ownerSVGElement === point.ownerSVGElement) one.tabIndex = -1;
    point.tabIndex = 0;
  };
  const place = point => [point.cx.baseVal.value, point.cy.baseVal.value];
  const arrows = {ArrowRight: [1, 0], ArrowLeft: [-1, 0], ArrowDown: [0, 1], ArrowUp: [0, -1]};
  // The nearest point in a direction; those that are more across than along are farther.
  const next = (point, [right, down]) => {
    const [x, y] = place(point);
    let best = point, least = Infinity;
    for (const other of points) {
      if (other.ownerSVGElement !== point.ownerSVGElement) continue;
      const [dx, dy] = place(other).map((one, axis) => one - [x, y][axis]);
      const along = dx * right + dy * down, across = Math.abs(dx * down) + Math.abs(dy * right);
      if (along > 0 && along + 2 * across < least) [best, least] = [other, along + 2 * across];
    }
    return best;
  };
  for (const point of points) {
    point.addEventListener("click", () => { reach(point); play(point); });
    point.addEventListener("keydown", event => {
      if (event.key === "Enter" || event.key === " ") play(point);
      else if (arrows[event.key]) {
        const other = next(point, arrows[event.key]);
        reach(other);
        other.focus();
      } else return;
      event.preventDefault();
    });
  }
  for (const svg of new Set(points.map(point => point.ownerSVGElement)))
    reach(points.find(point => point.ownerSVGElement === svg));
}

for (const root of document.querySelectorAll(".heard")) {
  const audio = root.querySelector("audio");
  follow(audio, root);
  choose(audio, root);
}
