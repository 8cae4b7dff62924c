// The page: shows what happens in the rooms. What others wrote is only ever text, never HTML.
import { Rooms } from "./rooms.js";

const MOST_SHOWN = 500; // messages of a room that stay on the page
const $ = (id) => document.getElementById(id);
const saved = JSON.parse(sessionStorage.getItem("rooms") ?? "null");
const rooms = new Map(); // by name: { log, unread, members, count }
let current = "";
let follows = true; // whether the end of the log is in sight, so that it stays there

const link = new Rooms(location.origin.replace(/^http/, "ws") + "/", heard);

// -- what the server says --------------------------------------------------------------------------

const acts = {
  state({ state, reason, rooms: known }) {
    if (state == "in") {
      if (reason == "new" && rooms.size && link.hasBeenIn) note("", "The server began anew; what was said meanwhile is lost.");
      link.hasBeenIn = true;
      for (const name of rooms.keys()) if (!known.includes(name)) join(name);
      for (const name of known) {
        room(name);
        link.ask({ action: "who", room: name }).catch(() => {});
      }
      $("door").hidden = true;
      $("hall").hidden = false;
      if (!current) choose(known[0] ?? [...rooms.keys()][0] ?? "");
      save();
    } else if (state == "over" && !link.session) {
      $("hall").hidden = true;
      $("door").hidden = false;
      $("why").textContent = reason;
      $("username").focus();
    }
    showState(state, reason);
  },
  joined({ room: name, username, members, count, command }) {
    if (!members) return come(name, username, false, `${username} joined`);
    if (command && command.room != name) rename(command.room, name);
    present(name, members, count);
    note(name, `You are in ${name}.`);
  },
  who({ room: name, members, count }) {
    if (members && rooms.has(name)) present(name, members, count);
  },
  left({ room: name, username }) {
    if (username == link.username) return drop(name);
    const here = rooms.get(name);
    if (here?.members.delete(username)) here.count--;
    note(name, `${username} left`);
  },
  away: ({ room: name, username }) => come(name, username, true, `${username} is away`),
  back: ({ room: name, username }) => come(name, username, false, `${username} is back`),
  chat: ({ room: name, from, message }) => add(name, { from, message, at: Date.now() }),
  missed: ({ room: name, count }) => note(name, `${count} messages are gone: more than the server keeps`),
  error({ command, reason }) {
    if (command?.action == "joinroom") {
      drop(command.room);
      note("", `${command.room}: ${reason}`);
    } else if (command && !["chat", "connect"].includes(command.action)) note("", reason);
  },
};

function heard(event) {
  acts[event.action]?.(event);
}

function come(name, username, away, words) {
  const here = rooms.get(name);
  if (!here) return;
  if (!here.members.has(username)) here.count++;
  here.members.set(username, away);
  note(name, words);
}

function present(name, members, count) {
  const here = room(name);
  here.members = new Map(members.map((member) => [member.username, member.away]));
  here.count = count;
  showMembers();
}

// -- rooms -----------------------------------------------------------------------------------------

function room(name) {
  if (!rooms.has(name)) rooms.set(name, { log: [], unread: 0, members: new Map(), count: 0 });
  showTabs();
  return rooms.get(name);
}

function join(name) {
  room(name);
  link.ask({ action: "joinroom", room: name }).catch(() => {});
}

function rename(old, name) {
  const here = rooms.get(old);
  rooms.delete(old);
  if (here && !rooms.has(name)) rooms.set(name, here);
  if (current == old) choose(name);
}

function drop(name) {
  rooms.delete(name);
  if (current == name) choose([...rooms.keys()][0] ?? "");
  showTabs();
}

function choose(name) {
  current = name;
  document.body.classList.remove("looking");
  $("people").setAttribute("aria-expanded", "false");
  const here = rooms.get(name);
  if (here) here.unread = 0;
  $("log").replaceChildren(...(here?.log ?? []).map(line));
  toEnd();
  $("text").disabled = !here;
  showTabs();
  showMembers();
}

// -- messages ---------------------------------------------------------------------------------------

function note(name, words) {
  const names = name ? [name] : [current];
  for (const each of names) add(each, { note: words, at: Date.now() });
  showMembers();
}

function add(name, entry) {
  const here = rooms.get(name);
  if (!here) return;
  here.log.push(entry);
  if (here.log.length > MOST_SHOWN) here.log.shift();
  if (name != current || document.hidden) {
    if (!entry.note && !entry.own) here.unread++;
    showTabs();
  }
  if (name != current) return;
  const log = $("log");
  log.append(line(entry));
  if (follows || entry.own) {
    while (log.children.length > MOST_SHOWN) log.firstChild.remove();
    toEnd();
  } else if (!entry.note) {
    const count = Number($("newer").dataset.count ?? 0) * !$("newer").hidden + 1;
    $("newer").dataset.count = count;
    $("newer").textContent = `${count} new ↓`;
    $("newer").hidden = false;
  }
}

function toEnd() {
  follows = true;
  $("newer").hidden = true;
  $("log").scrollTop = $("log").scrollHeight;
}

function line(entry) {
  const item = document.createElement("li");
  const time = document.createElement("time");
  const at = new Date(entry.at);
  time.dateTime = at.toISOString();
  time.textContent = at.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
  item.append(time);
  if (entry.note) {
    item.className = "note";
    item.append(entry.note);
    return item;
  }
  const name = document.createElement("strong");
  name.textContent = entry.from;
  colour(name, entry.from);
  item.append(name, entry.message);
  if (entry.own) {
    item.className = `own ${entry.own}`;
    const mark = document.createElement("small");
    mark.textContent = { waiting: "waiting", sent: "…", accepted: "✓", failed: `Not accepted: ${entry.why}` }[entry.own];
    mark.setAttribute("aria-label", entry.own);
    if (entry.own == "failed") mark.append(again(entry));
    item.append(mark);
  }
  entry.item = item;
  return item;
}

function again(entry) {
  const button = document.createElement("button");
  button.textContent = "Say it again";
  button.onclick = () => say(current, entry.message);
  return button;
}

function say(name, message) {
  const entry = { from: link.username, message, at: Date.now(), own: link.state == "in" ? "sent" : "waiting" };
  add(name, entry);
  const become = (own, why) => {
    Object.assign(entry, { own, why });
    const old = entry.item;
    if (old?.isConnected) old.replaceWith(line(entry));
  };
  link.say(name, message).then(() => become("accepted"), (error) => become("failed", error.message));
}

function colour(element, name) {
  let hue = 7;
  for (const char of name) hue = (hue * 31 + char.codePointAt(0)) % 360;
  element.style.setProperty("--hue", hue);
}

// -- what is shown around them -----------------------------------------------------------------------

function showTabs() {
  const tabs = [...rooms].map(([name, { unread }]) => {
    const tab = document.createElement("button");
    tab.type = "button";
    tab.role = "tab";
    tab.textContent = name;
    tab.ariaSelected = String(name == current);
    tab.onclick = () => choose(name);
    if (unread) {
      const badge = document.createElement("b");
      badge.textContent = unread;
      tab.append(badge);
      tab.ariaLabel = `${name}, ${unread} unread`;
    }
    return tab;
  });
  $("tabs").replaceChildren(...tabs);
  const unread = [...rooms.values()].reduce((sum, here) => sum + here.unread, 0);
  document.title = (unread ? `(${unread}) ` : "") + (current || "Rooms");
}

function showMembers() {
  const here = rooms.get(current);
  $("where").textContent = here ? `${here.count} in ${current}` : "You are in no room";
  $("people").textContent = `${here?.count ?? 0} here`;
  $("leave").hidden = !here;
  const items = [...(here?.members ?? [])].map(([username, away]) => {
    const item = document.createElement("li");
    const name = document.createElement("span");
    name.textContent = username;
    colour(name, username);
    item.className = away ? "away" : "";
    item.append(name, username == link.username ? " (you)" : away ? " (away)" : "");
    return item;
  });
  $("members").replaceChildren(...items);
}

function showState(state, reason) {
  const bar = $("state");
  bar.hidden = state == "in";
  bar.textContent = state == "over" ? `Not connected: ${reason}` : "Connection lost. It comes back by itself.";
  if (state == "over" && link.session) {
    const button = document.createElement("button");
    button.textContent = "Come back";
    button.onclick = () => link.open(link.username);
    bar.append(button);
  }
}

function save() {
  const logs = [...rooms].map(([name, { log }]) => [name, log.slice(-100).map(({ item, ...entry }) => entry)]);
  const { username, session, seen } = link;
  sessionStorage.setItem("rooms", JSON.stringify({ username, session, seen, current, logs }));
}

// -- what the user does --------------------------------------------------------------------------------

$("door").onsubmit = (event) => {
  event.preventDefault();
  $("why").textContent = "";
  rooms.clear();
  current = $("first").value.trim();
  room(current);
  choose(current);
  link.open($("username").value.trim());
};

$("say").onsubmit = (event) => {
  event.preventDefault();
  const text = $("text").value;
  if (!text.trim() || !current) return;
  $("text").value = "";
  $("text").focus(); // or the keyboard of a phone would go away
  say(current, text);
};

$("add").onclick = () => {
  $("room").value = "";
  $("another").showModal();
};
$("no").onclick = () => $("another").close("");
$("another").onclose = () => {
  const name = $("room").value.trim();
  if ($("another").returnValue != "join" || !name) return;
  if (!rooms.has(name)) join(name);
  choose(name);
};
$("leave").onclick = () => link.ask({ action: "leaveroom", room: current }).catch(() => {});
$("people").onclick = () => {
  const looking = document.body.classList.toggle("looking");
  $("people").setAttribute("aria-expanded", String(looking));
};
$("newer").onclick = toEnd;
$("log").onscroll = () => {
  const log = $("log");
  follows = log.scrollHeight - log.scrollTop - log.clientHeight < 60;
  if (follows) $("newer").hidden = true;
};

addEventListener("online", () => link.wake());
addEventListener("pageshow", () => link.wake());
addEventListener("pagehide", save);
document.addEventListener("visibilitychange", () => {
  if (document.hidden) return save();
  link.wake();
  const here = rooms.get(current);
  if (here) here.unread = 0;
  showTabs();
});
// Where the keyboard of a phone lies over the page instead of making it smaller.
visualViewport?.addEventListener("resize", () => {
  if (visualViewport.scale != 1) return;
  document.documentElement.style.setProperty("--height", `${visualViewport.height}px`);
  if (follows) toEnd();
});

if (saved?.session) {
  Object.assign(link, { session: saved.session, seen: saved.seen, hasBeenIn: true });
  for (const [name, log] of saved.logs) {
    room(name).log = log.map((entry) =>
      ["waiting", "sent"].includes(entry.own) ? { ...entry, own: "failed", why: "the page was closed before" } : entry);
  }
  choose(saved.current);
  $("door").hidden = true;
  $("hall").hidden = false;
  link.open(saved.username);
}
const asked = new URLSearchParams(location.search).get("room");
if (asked) $("first").value = asked;
