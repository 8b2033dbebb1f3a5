// The page of `musicemo listen`: the list of songs, and the song that is open. The players' script precedes it.

const content = document.getElementById("content");
const list = document.getElementById("songs");
const message = document.getElementById("message");
const track = document.getElementById("track");
const pick = document.getElementById("pick");
let current = 0; // the song that is or will be shown
let shown = 0;
let timer = 0;

function complain(text) {
  message.textContent = text;
  message.hidden = !text;
}

// Send a request and return the answer's JSON; null, with the reason on the page, if it failed.
async function ask(address, options) {
  try {
    const answer = await fetch(address, options);
    const body = await answer.json();
    if (answer.ok) return body;
    complain(body.error);
  } catch {
    complain("musicemo does not answer. Is it still running?");
  }
  return null;
}

async function show(number) {
  const answer = await fetch(`songs/${number}`);
  if (!answer.ok) return;
  shown = number;
  content.innerHTML = await answer.text();
  const audio = content.querySelector("audio");
  follow(audio, content);
  const course = content.querySelector(".course");
  const axes = [...content.querySelectorAll(".plane select")];
  for (const axis of axes) axis.onchange = async () => {
    const names = new URLSearchParams(axes.map(one => [one.name, one.value]));
    const plane = await fetch(`${course.dataset.address}?${names}`);
    if (!plane.ok) return;
    course.innerHTML = await plane.text();
    follow(audio, course);
    audio.dispatchEvent(new Event("seeked"));
  };
  audio.dispatchEvent(new Event("seeked")); // shows the cursors
}

function row(song) {
  const item = document.createElement("li");
  item.className = song.state;
  const open = document.createElement("button");
  open.className = "open";
  open.textContent = song.title;
  open.setAttribute("aria-current", song.number === current);
  open.onclick = () => openSong(song.number);
  const state = {waiting: "waiting", working: `${song.step} …`, failed: song.error}[song.state];
  if (state) open.append(Object.assign(document.createElement("small"), {textContent: state}));
  const remove = Object.assign(document.createElement("button"), {className: "remove", textContent: "×"});
  remove.setAttribute("aria-label", `Remove ${song.title}`);
  remove.onclick = async () => {
    if (await ask(`songs/${song.number}`, {method: "DELETE"}) === null) return;
    if (shown === song.number) content.replaceChildren();
    refresh();
  };
  item.append(open, remove);
  return item;
}

async function openSong(number) {
  complain("");
  current = number;
  if (await ask(`songs/${number}`, {method: "POST"}) !== null) refresh();
}

async function refresh() {
  clearTimeout(timer);
  const state = await ask("songs");
  if (state === null) return;
  const {songs, dataset} = state;
  pick.hidden = !dataset.tracks;
  track.placeholder = `${dataset.tracks.toLocaleString("en")} tracks`;
  document.getElementById("dataset").textContent = dataset.ready ? dataset.silence : "Reading the run's dataset …";
  const key = document.activeElement?.closest("#songs li") && [...list.children].indexOf(document.activeElement.closest("li"));
  list.replaceChildren(...songs.map(row));
  if (typeof key === "number") list.children[key]?.querySelector(".open").focus();
  const song = songs.find(one => one.number === current);
  if (song?.state === "done" && shown !== current) await show(current);
  if (song?.state === "failed") complain(`${song.title}: ${song.error}`);
  if (!dataset.ready || songs.some(one => one.state === "waiting" || one.state === "working")) timer = setTimeout(refresh, 400);
}

async function upload(files) {
  for (const file of files) {
    complain("");
    if (file.size > LARGEST) {
      complain(`${file.name}: the file has more than ${LARGEST / 2 ** 20} MB.`);
      continue;
    }
    const song = await ask(`songs?name=${encodeURIComponent(file.name)}`, {method: "POST", body: file});
    if (song === null) continue;
    current = song.number;
    refresh();
  }
}

const drop = document.getElementById("drop");
const LARGEST = Number(drop.dataset.largest);
document.getElementById("files").onchange = event => upload(event.target.files);
for (const [event, over] of [["dragover", true], ["dragleave", false], ["drop", false]])
  document.addEventListener(event, one => {
    one.preventDefault();
    drop.classList.toggle("over", over);
    if (event === "drop") upload(one.dataTransfer.files);
  });

async function search() {
  const ids = await ask(`tracks?q=${encodeURIComponent(track.value)}`);
  const offers = (ids ?? []).map(id => Object.assign(document.createElement("option"), {value: id}));
  document.getElementById("offers").replaceChildren(...offers);
}

track.oninput = search;
track.onfocus = search;
pick.onsubmit = async event => {
  event.preventDefault();
  complain("");
  const song = await ask(`tracks?id=${encodeURIComponent(track.value)}`, {method: "POST"});
  if (song === null) return;
  current = song.number;
  refresh();
};

refresh().then(() => { if (list.children.length) list.querySelector(".open").click(); });
