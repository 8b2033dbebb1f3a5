"use strict";

const content = document.getElementById("content");
const list = document.getElementById("songs");
const message = document.getElementById("message");
const track = document.getElementById("track");
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
  follow(content.querySelector("audio"), content);
}

// Move the cursors of an element with its player; a click on a picture moves the player.
function follow(audio, root) {
  const cursors = [...root.querySelectorAll(".cursor")];
  const duration = JSON.parse(cursors[0].dataset.times)[1];
  const draw = () => {
    for (const cursor of cursors) cursor.setAttribute("transform", `translate(${1000 * audio.currentTime / duration} 0)`);
    if (!audio.paused) requestAnimationFrame(draw);
  };
  for (const event of ["play", "seeked"]) audio.addEventListener(event, draw);
  for (const cursor of cursors) {
    const svg = cursor.ownerSVGElement;
    svg.addEventListener("click", event => {
      const box = svg.getBoundingClientRect();
      audio.currentTime = Math.min(Math.max((event.clientX - box.left) / box.width, 0), 1) * duration;
      audio.play();
    });
  }
}

function row(song) {
  const item = document.createElement("li");
  item.className = song.state;
  const open = document.createElement("button");
  open.className = "open";
  open.textContent = song.title;
  open.setAttribute("aria-current", song.number === current);
  open.onclick = () => choose(song.number);
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

async function choose(number) {
  complain("");
  current = number;
  if (await ask(`songs/${number}`, {method: "POST"}) !== null) refresh();
}

async function refresh() {
  clearTimeout(timer);
  const songs = await ask("songs");
  if (songs === null) return;
  const key = document.activeElement?.closest("#songs li") && [...list.children].indexOf(document.activeElement.closest("li"));
  list.replaceChildren(...songs.map(row));
  if (typeof key === "number") list.children[key]?.querySelector(".open").focus();
  const song = songs.find(one => one.number === current);
  if (song?.state === "done" && shown !== current) await show(current);
  if (song?.state === "failed") complain(`${song.title}: ${song.error}`);
  if (songs.some(one => one.state === "waiting" || one.state === "working")) timer = setTimeout(refresh, 400);
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

if (track) {
  const offers = document.getElementById("offers");
  const search = async () => {
    const ids = await ask(`tracks?q=${encodeURIComponent(track.value)}`);
    offers.replaceChildren(...(ids ?? []).map(id => Object.assign(document.createElement("option"), {value: id})));
  };
  track.oninput = search;
  track.onfocus = search;
  document.getElementById("pick").onsubmit = async event => {
    event.preventDefault();
    complain("");
    const song = await ask(`tracks?id=${encodeURIComponent(track.value)}`, {method: "POST"});
    if (song === null) return;
    current = song.number;
    refresh();
  };
}

refresh().then(() => { if (list.children.length) list.querySelector(".open").click(); });
