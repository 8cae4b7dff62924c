// One user of the rooms: a connection that comes back by itself, and what is on its way. No DOM in here.
//
// Every command has one answer, and answers come in the order of the commands; so an error belongs to the
// oldest command that has none. See docs/explanation/rooms.md.

const FIRST_WAIT = 300, LONGEST_WAIT = 5000; // milliseconds between two tries
const QUIET = 25000, PATIENCE = 5000; // so long nothing came: ask; so long no answer: the connection is dead
const BURST = 40, PAUSE = 70; // commands at once, then one each so many milliseconds: what a server takes

export class Rooms {
  /** Calls on(event) with what the server says, and on({action: "state", state, reason}) when that changes. */
  constructor(url, on) {
    Object.assign(this, { url, on, username: "", session: "", seen: {}, state: "out", wanted: false });
    this.waiting = []; // not sent yet
    this.asked = []; // sent, not answered
    this.wait = FIRST_WAIT;
    this.budget = BURST;
    this.refs = 0;
    setInterval(() => this.watch(), 1000);
  }

  /** Be there, and come back whenever the connection is lost. */
  open(username) {
    this.username = username;
    this.wanted = true;
    this.dial();
  }

  /** Look at once whether the connection is alive: the lid was opened, or the network is back. */
  wake() {
    if (!this.wanted) return;
    if (!this.socket) this.dial();
    else this.probe();
  }

  /** Send a command; the promise gives its answer, and fails with a sentence. */
  ask(command) {
    return new Promise((done, fail) => {
      this.waiting.push({ command, done, fail });
      this.flush();
    });
  }

  /** Say something; the promise gives what says that it was accepted. */
  say(room, message) {
    return this.ask({ action: "chat", room, message, ref: String(++this.refs) });
  }

  dial() {
    clearTimeout(this.timer);
    if (this.socket || !this.wanted) return;
    const socket = (this.socket = new WebSocket(this.url));
    this.heard = Date.now();
    this.probed = this.closing = null;
    socket.onopen = () => {
      const back = this.session ? { session: this.session, seen: this.seen } : {};
      this.post({ command: { action: "connect", username: this.username, ...back }, done() {}, fail: (error) => this.refused(error) });
    };
    socket.onmessage = ({ data }) => this.came(JSON.parse(data));
    socket.onclose = ({ code }) => this.lost(code);
  }

  came(event) {
    this.heard = Date.now();
    this.probed = null;
    const { action, room, id } = event;
    if (action == "chat" && id <= (this.seen[room] ?? 0)) return; // nothing twice
    if (action == "connected") this.back(event);
    if (action == "joined" && event.members) this.seen[room] = event.last ?? 0;
    if (action == "chat" || action == "accepted") this.seen[room] = Math.max(this.seen[room] ?? 0, id);
    if (action == "left" && event.username == this.username) delete this.seen[room];
    if (action == "closing") this.closing = event.reason;
    const [first] = this.asked;
    const answers = { connected: "connect", accepted: "chat", who: "who", joined: event.members && "joinroom",
      left: event.username == this.username && "leaveroom" };
    let mine;
    if (first && (action == "error" || answers[action] == first.command.action)) mine = this.asked.shift();
    this.on({ ...event, command: mine?.command });
    if (action == "error") mine?.fail(new Error(event.reason));
    else mine?.done(event);
  }

  back({ username, session, rooms }) {
    const known = session == this.session;
    if (!known) this.seen = {};
    Object.assign(this, { username, session, wait: FIRST_WAIT });
    this.become("in", known ? "back" : "new", rooms);
    this.flush();
  }

  refused(error) {
    this.wanted = false;
    this.session = "";
    this.socket.onclose = null;
    this.socket.close();
    this.lost(1000, error.message);
  }

  lost(code, reason = this.closing) {
    this.socket = null;
    const asked = this.asked.splice(0);
    // Whoever is dismissed, as this page is when another one shows its session, comes back only if asked to.
    if (code == 1000 && reason) this.wanted = false;
    this.become(this.wanted ? "out" : "over", reason ?? "");
    for (const { fail } of asked) fail(new Error("the connection was lost; nobody knows whether it was said"));
    if (!this.wanted) return;
    this.timer = setTimeout(() => this.dial(), this.wait * (0.5 + Math.random()));
    this.wait = Math.min(this.wait * 2, LONGEST_WAIT);
  }

  become(state, reason, rooms) {
    this.state = state;
    this.on({ action: "state", state, reason, rooms });
  }

  flush() {
    clearTimeout(this.later);
    while (this.state == "in" && this.waiting.length && this.budget >= 1) {
      this.budget--;
      this.post(this.waiting.shift());
    }
    if (this.waiting.length && this.state == "in") this.later = setTimeout(() => this.gain(1), PAUSE);
  }

  gain(count) {
    this.budget = Math.min(this.budget + count, BURST);
    this.flush();
  }

  post(wish) {
    this.asked.push(wish);
    this.socket.send(JSON.stringify(wish.command));
  }

  probe() {
    if (this.probed || this.state != "in") return;
    this.probed = Date.now();
    this.post({ command: { action: "who" }, done() {}, fail() {} });
  }

  watch() {
    if (!this.waiting.length) this.gain(10);
    if (!this.socket) return;
    const now = Date.now();
    // Timers stand still while a lid is closed, so much time may have passed since the last look.
    if (this.probed ? now - this.probed > PATIENCE : this.state != "in" && now - this.heard > 2 * PATIENCE) {
      this.socket.onclose = this.socket.onmessage = null;
      this.socket.close();
      this.lost(1006, "no answer");
      this.wait = FIRST_WAIT;
    } else if (now - this.heard > QUIET) this.probe();
  }
}
