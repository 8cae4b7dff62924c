// A client of `sketchmesh.v1`; its API is in mesh.d.ts. docs/explanation/link.md is the protocol,
// patterns.md beside it what subscribe() and ask() say on it.

export class MeshError extends Error {
	constructor(message, facts) {
		super(message)
		Object.assign(this, { name: new.target.name }, facts)
	}
}
export class ProtocolError extends MeshError {}
export class PayloadError extends MeshError {}
export class NackedError extends MeshError {}
export class AckTimeoutError extends MeshError {}
export class PeerDownError extends MeshError {}
export class OutcomeUnknownError extends MeshError {}
export class ClosedError extends MeshError {}

const MAX_DEPTH = 200
const MAX_MESSAGE = 2 ** 24
const BATCH = 2 ** 16
const WINDOW = 1024
const check = (ok, what) => {
	if (!ok) throw new ProtocolError(what)
}
const now = () => performance.now() / 1000
const random = () => crypto.getRandomValues(new Uint32Array(3)).join("")

// -- MessagePack

const utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true })
// Where encode() works; what was never written to costs no memory.
const buffer = new Uint8Array(MAX_MESSAGE + 2 * BATCH)
const view = new DataView(buffer.buffer)
class Packed extends Uint8Array {}

/** Return a value as MessagePack. */
export function encode(value) {
	let at = 0
	let depth = 0
	// A byte, and behind it a number if a kind of number is given.
	const put = (byte, kind, bits = 0, number) => {
		view.setUint8(at++, byte)
		if (bits) view[`set${kind}${bits}`](at, number)
		at += bits / 8
	}
	// What begins a text, bytes, list or map: `small` below `most`, else the types for 8 (if any), 16 and 32 bits.
	const head = (count, small, most, byte8, byte16) => {
		if (count < most) put(small | count)
		else if (byte8 && count < 256) put(byte8, "Uint", 8, count)
		else if (count < 65536) put(byte16, "Uint", 16, count)
		else put(byte16 + 1, "Uint", 32, count)
	}
	const raw = (bytes) => {
		buffer.set(bytes, at)
		at += bytes.length
	}
	const write = (value) => {
		const type = typeof value
		const whole = type == "bigint" || Number.isSafeInteger(value)
		if (value == null) put(0xc0)
		else if (type == "boolean") put(value ? 0xc3 : 0xc2)
		else if (whole && value >= -32 && value < 128) put(Number(value) & 255)
		else if (whole && value >= 0 && value < 256) put(0xcc, "Uint", 8, Number(value))
		else if (whole && value >= 0 && value < 65536) put(0xcd, "Uint", 16, Number(value))
		else if (whole && value >= -32768 && value < 0) put(0xd1, "Int", 16, Number(value))
		else if (whole && value >= 0 && value < 2 ** 32) put(0xce, "Uint", 32, Number(value))
		else if (whole && value >= 0 && value < 2 ** 64) put(0xcf, "BigUint", 64, BigInt(value))
		else if (whole && value >= -(2 ** 63) && value < 0) put(0xd3, "BigInt", 64, BigInt(value))
		else if (type == "number") put(0xcb, "Float", 64, value)
		else if (type == "string") {
			const bytes = new TextEncoder().encode(value)
			head(bytes.length, 0xa0, 32, 0xd9, 0xda)
			raw(bytes)
		} else if (type != "object") throw new PayloadError(`cannot send a ${type}`)
		else if (value instanceof Uint8Array) {
			if (!(value instanceof Packed)) head(value.length, 0, 0, 0xc4, 0xc5)
			raw(value)
		} else {
			if (++depth > MAX_DEPTH) throw new PayloadError("cannot send what is nested so deeply")
			if (value.toJSON) write(value.toJSON())
			else if (value instanceof Map || !value[Symbol.iterator]) {
				const pairs = value instanceof Map ? [...value] : Object.entries(value)
				head(pairs.length, 0x80, 16, 0, 0xde)
				pairs.flat().forEach(write)
			} else {
				const items = [...value]
				head(items.length, 0x90, 16, 0, 0xdc)
				items.forEach(write)
			}
			depth--
		}
	}
	try {
		write(value)
	} catch (error) {
		throw error instanceof RangeError ? new PayloadError("cannot send what is so large") : error
	}
	return buffer.slice(0, at)
}

/** Return the value that some MessagePack is; throws if it is not exactly one. */
export function decode(bytes) {
	const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length)
	let at = 0
	let depth = 0
	const number = (kind, bits) => view[`get${kind}${bits}`]((at += bits / 8) - bits / 8)
	const uint = (bits) => number("Uint", bits)
	const take = (count) => {
		check(at + count <= bytes.length, "a frame that ends too early")
		return bytes.slice(at, (at += count))
	}
	const text = (count) => utf8.decode(take(count))
	const extension = (count) => ({ extension: number("Int", 8), data: take(count) })
	const list = (length, next = read) => {
		check(++depth < MAX_DEPTH + 10, "a message nested too deeply")
		// Before there is an array of it.
		check(at + length <= bytes.length, "a frame that ends too early")
		const items = Array.from({ length }, next)
		depth--
		return items
	}
	const map = (count) => {
		const pairs = list(count, () => [read(), read()])
		// Here `__proto__` is a key like any other.
		return pairs.every(([key]) => typeof key == "string") ? Object.fromEntries(pairs) : new Map(pairs)
	}
	const read = () => {
		const byte = uint(8)
		const bits = 8 << (byte & 3)
		if (byte < 0x80 || byte > 0xdf) return (byte << 24) >> 24
		if (byte < 0x90) return map(byte & 15)
		if (byte < 0xa0) return list(byte & 15)
		if (byte < 0xc0) return text(byte & 31)
		check(byte != 0xc1, "c1 is no MessagePack")
		if (byte < 0xc4) return [null, 0, false, true][byte & 3]
		if (byte < 0xc7) return take(uint(bits))
		if (byte < 0xca) return extension(uint(8 << (byte - 0xc7)))
		if (byte < 0xcc) return number("Float", bits)
		if (byte < 0xd4) {
			const kind = byte < 0xd0 ? "Uint" : "Int"
			if (bits < 64) return number(kind, bits)
			const big = number("Big" + kind, 64)
			return Number.isSafeInteger(Number(big)) ? Number(big) : big
		}
		if (byte < 0xd9) return extension(1 << (byte - 0xd4))
		if (byte < 0xdc) return text(uint(8 << (byte - 0xd9)))
		return byte < 0xde ? list(uint(2 * bits)) : map(uint(bits / 2))
	}
	const value = read()
	check(at == bytes.length, "a frame that goes on after its end")
	return value
}

// -- The link

// The fields of each kind of record: (o)bject, (s)tring, (n)umber, (a)rray.
const SHAPES = [, "o", "ss", "snna", "sna", "snnss", "sn", "s", "snnn"]
const NUMBERS = ["window_messages", "window_bytes", "max_message", "heartbeat", "timeout", "connections"]
const TYPES = {
	o: (field) => field?.v == 1 && field.name && field.session && NUMBERS.every((key) => field[key] > 0),
	s: (field) => typeof field == "string",
	n: (field) => Number.isSafeInteger(field) && field > 0,
	a: (field) => Array.isArray(field) && field.length,
}
// What a sender keeps of a channel: `items` from number `base` on, of which the first `numbered` have their
// numbers, together of so many `bytes`, and the first `sent` went out on this connection. The peer was `told` a base;
// so many connections in a row were `fruitless`; `holes` were left by what was given up.
const FRESH = { base: 1, told: 1, numbered: 0, sent: 0, bytes: 0, fruitless: 0, holes: true }
const ONCE = { once: true, patience: Infinity }

// What a consumer has not taken yet, each with what acknowledges it.
class Feed {
	items = []
	constructor(left) {
		this.left = left
	}
	push(...item) {
		this.items.push(item)
		this.wake?.()
	}
	end(error) {
		this.over ??= { error }
		this.wake?.()
	}
	close() {
		this.end()
		for (const [, took] of this.items.splice(0)) took()
		this.left()
	}
	async *[Symbol.asyncIterator]() {
		try {
			for (;;) {
				while (this.items.length) {
					const [value, took] = this.items.shift()
					took()
					yield value
				}
				if (this.over?.error) throw this.over.error
				if (this.over) return
				await new Promise((wake) => (this.wake = wake))
			}
		} finally {
			this.close()
		}
	}
}

export function connect(url, options) {
	const { patience, heartbeat, timeout, limit, name, WebSocket } = {
		patience: 10,
		heartbeat: 1,
		timeout: 5,
		limit: BATCH,
		name: "browser-" + random(),
		WebSocket: globalThis.WebSocket,
		...options,
	}
	const incarnation = random()
	const outs = new Map() // by channel: what is sent
	const ins = new Map() // by channel: what came, `hand` in hand and `answers` remembered from `base` on
	const takers = new Map() // by channel: who takes what comes
	let terms = { max_message: MAX_MESSAGE, connections: 0 }
	let session = ""
	let [beat, silence, delay, count] = [heartbeat, timeout, 0.05, 0]
	let [ticked, heard, spoke, lostAt] = Array(4).fill(now())
	let upAt, socket, timer, due, mute, closing, goodbye, ended, closed

	const become = (state, reason) => {
		if (peer.state != state) queueMicrotask(() => peer.onstate?.(state, reason))
		peer.state = state
	}
	const nacked = (remoteType, message) => new NackedError(message, { remoteType, node: peer.node })

	// -- sending

	const send = (channel, value, { timeout, signal, ...wishes } = {}) =>
		new Promise((resolve, reject) => {
			if (closing) throw new ClosedError("the peer was closed")
			signal?.throwIfAborted()
			if (typeof channel != "string" || channel.length > 255) throw new PayloadError("a channel is text, up to 255")
			const body = new Packed(encode(value))
			if (body.length > terms.max_message) throw new PayloadError(`${body.length} bytes are too many`)
			const books = { sent: 0, acked: 0, refused: 0, failed: 0 }
			const out = outs.get(channel) ?? { ...FRESH, items: [], books }
			if (out.items.length >= limit) throw new PayloadError(`${limit} messages wait already`)
			const item = { patience, ...wishes, out, body, resolve, reject, since: now(), order: ++count }
			const abort = () => fail(item, signal.reason)
			const late = () => fail(item, new AckTimeoutError(`no answer within ${timeout} s`))
			const timer = timeout && setTimeout(late, 1000 * timeout)
			signal?.addEventListener("abort", abort)
			item.free = () => {
				clearTimeout(timer)
				signal?.removeEventListener("abort", abort)
			}
			outs.set(channel, out)
			out.items.push(item)
			out.books.sent++
			soon()
		})
	const settle = (item, line, call, value) => {
		if (item.settled) return
		item.settled = true
		item.free()
		item.out.books[line]++
		call(value)
	}
	const fail = (item, error) => {
		settle(item, "failed", item.reject, error)
		item.out.holes = true
	}
	const failAll = (which, error) => {
		for (const { items, numbered } of outs.values()) {
			items.forEach((item, n) => !item.settled && which(item, n < numbered) && fail(item, error()))
		}
	}
	const answered = (channel, first, count) => {
		const out = outs.get(channel)
		check(first == out?.base && count <= out.numbered, `nobody waits for the answer to ${first} on ${channel}`)
		out.fruitless = 0
		out.base += count
		out.numbered -= count
		out.sent = Math.max(0, out.sent - count)
		const items = out.items.splice(0, count)
		for (const item of items) out.bytes -= item.body.length
		return items
	}
	const post = (frame) => {
		spoke = now()
		socket?.send(encode(frame))
	}
	const soon = () => {
		if (!due) queueMicrotask(() => flush((due = false)))
		due = true
	}
	const flush = (all) => {
		if (peer.state != "up") return
		let frame = []
		let size = 0
		const put = (weight, ...record) => {
			size += weight + 200 + 3 * record[1].length
			if (frame.length && size > BATCH) {
				post(frame.splice(0))
				size = weight
			}
			frame.push(record)
		}
		for (const [channel, work] of ins) {
			while (work.asked && work.said < work.base + work.answers.length) {
				const answers = work.answers.slice(work.said - work.base)
				const other = answers.findIndex((answer) => answer != answers[0])
				const same = other < 0 ? answers : answers.slice(0, other)
				if (same[0]) put(0, 5, channel, work.said, same.length, ...same[0])
				else put(same.length, 4, channel, work.said, same)
				work.said += same.length
			}
		}
		for (const [channel, out] of outs) {
			// What was given up goes, but for what has a number: it will still be answered.
			if (out.holes) out.items = out.items.filter((item, n) => n < out.numbered || !item.settled)
			out.holes = false
			while (!mute) {
				const batch = []
				const first = out.base + out.sent
				let weight = 0
				while (out.sent < out.items.length) {
					const { body, settled } = out.items[out.sent]
					const isNew = out.sent == out.numbered
					const isFull = out.numbered >= terms.window_messages || out.bytes + body.length > terms.window_bytes
					if (isNew && out.numbered && isFull) break
					if (batch.length && (settled != out.items[out.sent - 1].settled || weight + body.length > BATCH)) break
					if (isNew) {
						out.numbered++
						out.bytes += body.length
					}
					out.sent++
					weight += body.length
					batch.push(body)
				}
				if (!batch.length) break
				if (out.items[out.sent - 1].settled) put(0, 8, channel, first, out.base, batch.length)
				else put(weight, 3, channel, first, out.base, batch)
				out.told = out.base
			}
			const owed = out.base - out.told
			if (owed && (all || 4 * owed >= terms.window_messages)) put(0, 6, channel, (out.told = out.base))
		}
		if (frame.length) post(frame)
		if (closing && [...outs.values()].every((out) => out.items.every((item) => item.settled))) finish()
	}

	// -- receiving

	const data = (channel, first, base, count, items) => {
		const work = ins.get(channel) ?? { base, asked: 0, answers: [], hand: [] }
		const { answers, hand } = work
		const expected = work.base + answers.length + hand.length
		const end = first + count
		const leaps = first > expected || base > work.base + answers.length
		const fits = first == base || (first == work.asked && first > base && !leaps)
		const isFull = end - base > WINDOW || ins.size > 16384
		check(base >= work.base && fits && !(leaps && hand.length) && !isFull, `${channel}: ${first} is out of order`)
		ins.set(channel, work)
		forget(work, base)
		if (!work.asked) work.said = first
		work.asked = end
		for (let n = Math.max(first, expected); n < end; n++) {
			const entry = {}
			const took = (refusal = null) => {
				entry.refusal = refusal
				while (hand[0]?.refusal !== undefined) answers.push(hand.shift().refusal)
				// A consumer takes one by one; the answers go together.
				if (!hand.length || work.base + answers.length - work.said > 15) soon()
			}
			hand.push(entry)
			const taker = takers.get(channel)
			if (!items) took(["!skipped", ""])
			else if (!taker) took(["LookupError", "nobody takes it here"])
			else {
				try {
					taker.take(items[n - first], took)
				} catch ({ name, message }) {
					took([name, message])
				}
			}
		}
	}
	const forget = (work, base) => {
		work.answers.splice(0, base - work.base)
		work.base = base
	}
	const over = (again) => {
		const error = () => new OutcomeUnknownError("it was sent, but its session is over")
		failAll((item, numbered) => numbered && !(again && !item.once), error)
		for (const out of outs.values()) Object.assign(out, FRESH)
		ins.clear()
		session = ""
	}
	const kinds = {
		1: (theirs) => {
			const restarted = terms.incarnation && theirs.incarnation != terms.incarnation
			check(!theirs.resumed || (theirs.session == session && !restarted), "it resumed another session")
			if (!theirs.resumed) over(restarted)
			terms = theirs.resumed ? { ...terms, connections: theirs.connections } : theirs
			session = theirs.session
			beat = Math.max(0.05, Math.min(heartbeat, theirs.heartbeat))
			silence = Math.max(2 * beat, Math.min(timeout, theirs.timeout))
			peer.node = theirs.name
			upAt = now()
			lostAt = Infinity
			mute = false
			for (const { items, numbered } of outs.values()) {
				items.push(...items.splice(numbered).sort((a, b) => a.order - b.order))
			}
			become("up", theirs.resumed ? "resumed" : restarted ? "restarted" : "connected")
			post([])
			if (!theirs.resumed) for (const taker of takers.values()) taker.renew(restarted)
		},
		2: (code, reason) => {
			if (code == "protocol") over()
			lost(`${code}: ${reason}`)
		},
		3: (channel, first, base, items) => data(channel, first, base, items.length, items),
		4: (channel, first, values) => {
			answered(channel, first, values.length).forEach((item, n) => settle(item, "acked", item.resolve, values[n]))
		},
		5: (channel, first, count, type, message) => {
			for (const item of answered(channel, first, count)) {
				mute ||= type == "!leaving"
				if (type == "!leaving" && !item.settled) item.out.items.push(item)
				else settle(item, "refused", item.reject, nacked(type, message))
			}
		},
		6: (channel, base) => {
			const work = ins.get(channel)
			if (!work || base < work.base) return
			check(base <= work.base + work.answers.length, `${channel}: ${base} is not answered`)
			forget(work, base)
			if (!work.answers.length && !work.hand.length) ins.delete(channel)
		},
		7: () => {
			mute = true
		},
		8: data,
	}
	const receive = (frame) => {
		heard = now()
		try {
			check(frame.byteLength <= MAX_MESSAGE + 2048, "a frame of a wrong size")
			for (const [kind, ...fields] of decode(new Uint8Array(frame))) {
				if (kind >= 32) continue
				const shape = SHAPES[kind]
				const isValid = shape?.length == fields.length && fields.every((field, n) => TYPES[shape[n]](field))
				check(isValid && (kind == 2 || (kind == 1) != (peer.state == "up")), `a wrong record of kind ${kind}`)
				kinds[kind](...fields)
				if (!socket) return
			}
			soon()
			// Timers are slowed down in a tab that nobody looks at; frames still arrive.
			if (heard - spoke >= beat) pulse()
		} catch ({ message }) {
			post([[2, "protocol", message]])
			over()
			lost(`protocol error: ${message}`)
		}
	}

	// -- connections and time

	const dial = () => {
		if (closed) return
		const mine = (socket = new WebSocket(address, "sketchmesh.v1"))
		heard = now()
		socket.binaryType = "arraybuffer"
		socket.onopen = () => {
			const window = { window_messages: WINDOW, window_bytes: 2 ** 22, max_message: MAX_MESSAGE }
			const connections = session && terms.connections ? terms.connections : 0
			post([[0, { v: [1], name, incarnation, session, connections, heartbeat, timeout, ...window }]])
		}
		socket.onmessage = ({ data }) => mine == socket && receive(data)
		socket.onclose = ({ code, reason }) => mine == socket && lost(reason || `connection lost (${code})`)
		socket.onerror = () => {}
	}
	const lost = (reason) => {
		const old = socket
		if (!old) return
		socket = undefined
		old.close()
		for (const out of outs.values()) {
			out.sent = out.told = 0
			if (peer.state == "up" && out.numbered) out.fruitless++
		}
		for (const work of ins.values()) work.asked = 0
		// Who takes every connection and drops it is as good as absent.
		delay = now() - upAt > 1 ? 0.1 : Math.min(2 * delay, 2)
		upAt = Infinity
		if (peer.state == "up") lostAt = now()
		become("down", reason)
		if (closing) return finish()
		setTimeout(dial, 1000 * delay * (0.5 + Math.random()))
	}
	const pulse = () => {
		flush(true)
		if (peer.state == "up" && now() - spoke >= beat) post([])
	}
	const tick = () => {
		const time = now()
		// Who slept must not accuse: what came meanwhile may still wait to be read.
		if (time - ticked > silence) heard = Math.max(heard, time - silence + 2 * beat)
		ticked = time
		if (socket && time - heard > silence) lost("it fell silent")
		pulse()
		const down = () => new PeerDownError(`${address} was not there for ${(time - lostAt).toFixed(1)} s`)
		const isLate = ({ since, patience }) => time - Math.max(since, lostAt) > (patience ?? Infinity)
		failAll((item, numbered) => isLate(item) || (numbered && item.out.fruitless > 9), down)
		if (time - lostAt > patience) for (const taker of takers.values()) taker.miss(down())
		if (!closed) timer = setTimeout(tick, 500 * beat)
	}
	const finish = () => {
		if (closed) return
		closed = true
		failAll(() => true, () => new ClosedError("the peer was closed"))
		if (peer.state == "up") post([[7, "closed"]])
		clearTimeout(timer)
		clearTimeout(goodbye)
		become("closed", "closed")
		const old = socket
		socket = undefined
		old?.close()
		ended()
	}

	// -- patterns: docs/explanation/patterns.md

	const subscribe = (channel, options, callback) => {
		const key = "$pub/" + channel
		const feed = new Feed(() => sub.feeds.delete(feed) && sub.sync())
		const wishes = { policy: "drop_oldest", limit: 1000, latch: true, ...options, channel }
		const sub = takers.get(key) ?? subscription(key, wishes)
		takers.set(key, sub)
		sub.feeds.add(feed)
		sub.sync()
		const serve = async () => {
			for await (const item of feed) await callback(item)
		}
		if (callback) serve()
		return feed
	}
	const subscription = (key, options) => {
		const feeds = new Set()
		// `on` is what the publisher knows, `busy` while it is told; `next` is the number of the next value.
		let on, busy, next, restarts
		const end = (error) => {
			for (const feed of feeds) feed.end(error)
			feeds.clear()
			on = false
		}
		const sync = async () => {
			const want = feeds.size > 0
			const before = session
			if (!want && !on && !busy) takers.delete(key)
			if (busy || !session || want == !!on) return
			busy = true
			try {
				const { channel } = options
				const ack = await (want ? send("$subscribe", options, ONCE) : send("$unsubscribe", { channel }, ONCE))
				if (before != session) return
				on = want
				// Values may have come before it.
				if (want) next ??= ack.next - ack.latched
			} catch (error) {
				if (before != session) return
				if (want) end(error)
				on = false
			}
			busy = false
			sync()
		}
		return {
			feeds,
			sync,
			take: ([seq, value, type, text], took) => {
				if (type) {
					end(nacked(type, text))
					sync()
					return took()
				}
				check(TYPES.n(seq), "a value without its number")
				const gap = restarts ? -1 : seq - (next ?? seq)
				if (gap < 0 && !restarts) return took()
				restarts = false
				next = seq + 1
				let left = feeds.size
				for (const feed of feeds) feed.push({ value, seq, gap }, () => --left || took())
				if (!left) took()
			},
			renew: (restarted) => {
				on = busy = false
				restarts ||= restarted && next !== undefined
				sync()
			},
			miss: () => {},
			close: end,
		}
	}
	const ask = (channel, msg, options) => {
		const id = String(++count)
		const key = "$part/" + id
		let accepted
		const cancel = () => send("$cancel", { id })
		const feed = new Feed(() => takers.delete(key) && begun.then(cancel).catch(() => {}))
		const end = (error) => {
			takers.delete(key)
			feed.end(error)
		}
		const begun = send("$ask", { id, channel, msg }, options)
		begun.then(() => (accepted = true), end)
		takers.set(key, {
			take: ([kind, value, message], took) => {
				check([0, 1, 2].includes(kind), "no part, no end and no error")
				if (kind == 0) return feed.push(value, took)
				end(kind == 2 && nacked(value, message))
				took()
			},
			renew: () => accepted && end(new OutcomeUnknownError("its session is over")),
			miss: end,
			close: () => end(new ClosedError("the peer was closed")),
		})
		return feed
	}

	const books = () => {
		const line = ([channel, { books, items }]) => {
			return [channel, { ...books, inFlight: items.filter((item) => !item.settled).length }]
		}
		return Object.fromEntries(Array.from(outs, line))
	}
	const close = () => {
		closing ??= new Promise((resolve) => (ended = resolve))
		for (const taker of takers.values()) taker.close()
		goodbye ??= setTimeout(finish, 3000)
		if (peer.state == "up") soon()
		else finish()
		return closing
	}
	const peer = { state: "connecting", node: "", onstate: null, send, request: send, subscribe, ask, books, close }
	const address = new URL(url, globalThis.location?.href).href.replace(/^http/, "ws")
	dial()
	tick()
	return peer
}
