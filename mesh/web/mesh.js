// A client of `sketchmesh.v1`: mesh.d.ts tells its API, docs/explanation/link.md and patterns.md the protocol.
export class MeshError extends Error {
	constructor(kind, message, facts) {
		super(message)
		Object.assign(this, { name: kind + "Error" }, facts)
	}
}
const check = (ok, what = "malformed", kind = "Protocol") => {
	if (!ok) throw new MeshError(kind, what)
}
const MAX = 2 ** 24, BATCH = 2 ** 16, WINDOW = 1024
const now = () => performance.now() / 1000
const random = () => String(Math.random())

// -- MessagePack

class Packed extends Uint8Array {}
const buffer = new Uint8Array(MAX + 2 * BATCH), out = new DataView(buffer.buffer)
export const encode = (value) => {
	let at = 0
	const put = (byte, kind, size = 0, n) => {
		out.setUint8(at++, byte)
		if (size) out["set" + kind + 8 * size](at, n)
		at += size
	}
	const head = (n, small, most, type) =>
		n < most ? put(small + n) : n < 256 && type < 0xdb ? put(type, "Uint", 1, n) : put(type + 2, "Uint", 4, n)
	const raw = (bytes) => {
		buffer.set(bytes, at)
		at += bytes.length
	}
	const blob = (bytes, ...form) => raw(bytes, head(bytes.length, ...form))
	const all = (x, depth) => {
		check(typeof x == "object" && depth < 200, "it cannot be sent", "Payload")
		const isList = x[Symbol.iterator], items = isList ? [...x] : Object.entries(x).flat()
		isList ? head(items.length, 0x90, 16, 0xdb) : head(items.length / 2, 0x80, 16, 0xdd)
		for (const item of items) write(item, depth + 1)
	}
	const write = (x, depth) => {
		const type = typeof x
		const whole = type == "bigint" ? x >= -(2n ** 63n) && x < 2n ** 64n : Number.isSafeInteger(x)
		x == null ? put(0xc0)
		: type == "boolean" ? put(0xc2 + x)
		: type == "string" ? blob(new TextEncoder().encode(x), 0xa0, 32, 0xd9)
		: whole && x > -33 && x < 2 ** 32 ? head(Number(x), 0, 128, 0xcc)
		: whole ? put(x < 0 ? 0xd3 : 0xcf, "BigInt", 8, BigInt(x))
		: type == "number" ? put(0xcb, "Float", 8, x)
		: x instanceof Packed ? raw(x)
		: x instanceof Uint8Array ? blob(x, 0, 0, 0xc4)
		: x.toJSON ? write(x.toJSON(), depth)
		: all(x, depth)
	}
	write(value, 0)
	return buffer.slice(0, at)
}

const utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true })
export const decode = (bytes) => {
	const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length)
	let at = 0, depth = 0
	const get = (kind, size) => view["get" + kind + 8 * size]((at += size) - size)
	const uint = (size) => get("Uint", size)
	const whole = (kind, size) => {
		const n = get(size < 8 ? kind : "Big" + kind, size)
		return Number.isSafeInteger(Number(n)) ? Number(n) : n
	}
	const take = (n) => bytes.slice(at, (at += n))
	const text = (n) => utf8.decode(take(n))
	const list = (n, next = read) => {
		const items = []
		for (check(++depth < 210); n--; ) items.push(next())
		depth--
		return items
	}
	const map = (n) => Object.fromEntries(list(n, () => [read(), read()]))
	const read = () => {
		const byte = uint(1), size = 1 << (byte & 3)
		check(byte != 0xc1)
		return byte < 0x80 ? byte
			: byte < 0x90 ? map(byte & 15)
			: byte < 0xa0 ? list(byte & 15)
			: byte < 0xc0 ? text(byte & 31)
			: byte < 0xc4 ? [null, , false, true][byte & 3]
			: byte < 0xc7 ? take(uint(size))
			: byte < 0xca ? take(uint(1 << (byte - 0xc7)) + 1)
			: byte < 0xcc ? get("Float", size)
			: byte < 0xd0 ? whole("Uint", size)
			: byte < 0xd4 ? whole("Int", size)
			: byte < 0xd9 ? take((1 << (byte - 0xd4)) + 1)
			: byte < 0xdc ? text(uint(size / 2))
			: byte < 0xde ? list(uint(size * 2))
			: byte < 0xe0 ? map(uint(size / 2))
			: byte - 256
	}
	const value = read()
	check(at == bytes.length)
	return value
}

// -- The link

// Kinds of records and their fields: (o)bject, (s)tring, positive (i)nteger, (a)rray.
const FORMS = /^(1o|2ss|3siia|4sia|5siiss|6si|7s|8siii)$/
const form = (x) => Array.isArray(x) ? x.length && "a" : Number.isSafeInteger(x) && x > 0 ? "i" : (typeof x)[0]

export const connect = (url, { name = "browser-" + random(), patience = 10, WebSocket: Socket = WebSocket } = {}) => {
	const outs = new Map(), ins = new Map(), takers = new Map() // by channel
	const books = { sent: 0, acked: 0, refused: 0, failed: 0, inFlight: 0 }, incarnation = random()
	let terms = { max_message: MAX }, session = "", beat = 1, silence = 5, delay = 0.05, asks = 0
	let socket, heard, spoke, upAt, lostAt = now(), up, timer, due, mute, closing, closed

	const become = (state, reason) => {
		if (peer.state != state) queueMicrotask(() => peer.onstate?.(state, reason))
		peer.state = state
		up = state == "up"
	}
	const nacked = (remoteType, text) => new MeshError("Nacked", text, { remoteType, node: peer.node })

	const send = (ch, value, { timeout, signal } = {}) => new Promise((resolve, reject) => {
		check(!closing, "the peer was closed", "Closed")
		signal?.throwIfAborted()
		const body = new Packed(encode(value).buffer)
		check(ch.length < 256 && body.length <= terms.max_message, "too long", "Payload")
		const settle = (line, value) => {
			if (item.settled) return
			item.settled = line
			books[line]++
			books.inFlight--
			clearTimeout(timer)
			signal?.removeEventListener("abort", abort)
			line == "acked" ? resolve(value) : reject(value)
		}
		const item = { body, settle, since: now() }
		const abort = () => settle("failed", signal.reason)
		const late = () => settle("failed", new MeshError("AckTimeout", `no answer within ${timeout} s`))
		const timer = timeout && setTimeout(late, 1000 * timeout)
		signal?.addEventListener("abort", abort)
		// from number `base` on; `given` a number, of `bytes`; `sent` on this connection; the peer was `told` a base
		if (!outs.has(ch)) outs.set(ch, { items: [], base: 1, told: 1, given: 0, bytes: 0, sent: 0 })
		outs.get(ch).items.push(item)
		books.sent++
		books.inFlight++
		soon()
	})
	const fail = (kind, why, which) => {
		for (const o of outs.values()) {
			o.items.forEach((item, n) => which(item, n < o.given) && item.settle("failed", new MeshError(kind, why)))
			o.items = o.items.filter((item, n) => n < o.given || !item.settled)
		}
	}
	const post = (frame) => {
		spoke = now()
		socket.send(encode(frame))
	}
	const soon = () => {
		if (!due) queueMicrotask(flush)
		due = true
	}
	const flush = () => {
		due = false
		if (!up) return
		const idle = now() - spoke > beat
		let frame = [], size = 0
		const put = (bytes, ...record) => {
			if ((size += bytes + 1100) > BATCH && frame[0]) {
				post(frame)
				frame = []
				size = bytes
			}
			frame.push(record)
		}
		for (const [ch, i] of ins) {
			let nils, no
			for (; (no = i.list[i.said - i.base]) !== undefined; i.said++)
				if (no) nils = put(0, 5, ch, i.said, 1, ...no)
				else if (nils) nils.push(no)
				else put(WINDOW, 4, ch, i.said, (nils = [no]))
		}
		for (const [ch, o] of outs) {
			let batch
			while (!mute && o.sent < o.items.length) {
				const { body, settled } = o.items[o.sent], { length } = body
				if (o.sent == o.given) {
					if (o.sent && (o.sent >= terms.window_messages || o.bytes + length > terms.window_bytes)) break
					o.given++
					o.bytes += length
				}
				const number = o.base + o.sent++
				if (settled) batch = put(0, 8, ch, number, o.base, 1)
				else if (batch && size + length < BATCH) {
					batch.push(body)
					size += length
				} else put(length, 3, ch, number, o.base, (batch = [body]))
				o.told = o.base
			}
			if (o.base - o.told > (idle ? 0 : 500)) put(0, 6, ch, (o.told = o.base))
		}
		if (idle || frame[0]) post(frame)
		if (closing && !books.inFlight) finish()
	}

	const answer = (ch, first, count, line, value) => {
		const o = outs.get(ch)
		check(first == o?.base && count <= o.sent)
		o.base += count
		o.given -= count
		o.sent -= count
		o.items.splice(0, count).forEach((item, n) => {
			o.bytes -= item.body.length
			item.settle(line, value(n))
		})
	}
	const data = (ch, first, base, items) => {
		const i = ins.get(ch) ?? { base, list: [] }, { list } = i
		const leaves = list.splice(0, base - i.base)
		check(base >= i.base && first >= base && first <= Math.max(base, base + list.length) && first + items.length - base <= WINDOW
			&& !leaves.includes(undefined))
		ins.set(ch, i)
		i.base = base
		i.said = Math.max(i.said ?? first, base)
		items.forEach((item, n) => {
			if ((n += first) < base + list.length) return
			const taker = takers.get(ch)
			const took = (no = null) => {
				list[n - i.base] = no
				if (n % 16 == 0 || list.length == n + 1 - i.base) soon()
			}
			list.push(undefined)
			if (item === undefined) took(["!skipped", ""])
			else if (taker) taker.push(item, took)
			else took(["LookupError", "nobody takes it"])
		})
	}
	const over = (again) => {
		const why = "it was sent, but its session is over"
		fail("OutcomeUnknown", why, (item, given) => given && !again)
		for (const o of outs.values()) Object.assign(o, { base: 1, told: 1, given: 0, bytes: 0, sent: 0 })
		ins.clear()
		if (session) for (const taker of takers.values()) taker.fail(new MeshError("OutcomeUnknown", why))
		session = ""
	}
	const kinds = [,
		(theirs) => {
			const { resumed } = theirs, restarted = terms.incarnation && theirs.incarnation != terms.incarnation
			check(theirs.v == 1 && theirs.session && theirs.heartbeat > 0 && theirs.timeout > 0)
			check(!resumed || theirs.session == session)
			if (!resumed) over(restarted)
			terms = resumed ? { ...terms, connections: theirs.connections } : theirs
			session = theirs.session
			beat = Math.max(0.05, Math.min(1, theirs.heartbeat))
			silence = Math.max(2 * beat, Math.min(5, theirs.timeout))
			peer.node = theirs.name
			upAt = now()
			lostAt = Infinity
			mute = false
			become("up", resumed ? "resumed" : restarted ? "restarted" : "connected")
			post([])
		},
		(code, reason) => {
			if (code == "protocol") over()
			lost(code + ": " + reason)
		},
		data,
		(ch, first, values) => answer(ch, first, values.length, "acked", (n) => values[n]),
		// What a leaving peer turned away stays for its next incarnation.
		(ch, first, count, type, text) => type == "!leaving" || answer(ch, first, count, "refused", () => nacked(type, text)),
		(ch, base) => {
			const i = ins.get(ch)
			if (i?.base <= base) data(ch, base, base, [])
		},
		() => (mute = true),
		(ch, first, base, count) => data(ch, first, base, Array(Math.min(count, WINDOW + 1)).fill()),
	]
	const receive = (bytes) => {
		heard = now()
		try {
			for (const [kind, ...fields] of decode(new Uint8Array(bytes))) {
				if (kind > 31) continue
				check(FORMS.test(kind + fields.map(form).join("")) && (kind == 2 || (kind == 1) != up))
				kinds[kind](...fields)
			}
			soon()
		} catch ({ message }) {
			if (socket) post([[2, "protocol", message]])
			over()
			lost("protocol error: " + message)
		}
	}

	const dial = () => {
		if (closed) return
		const mine = (socket = new Socket(url, "sketchmesh.v1"))
		heard = now()
		mine.binaryType = "arraybuffer"
		mine.onopen = () => post([[0, {
			v: [1], name, incarnation, session, connections: session ? terms.connections : 0, heartbeat: 1, timeout: 5,
			window_messages: WINDOW, window_bytes: 2 ** 22, max_message: MAX,
		}]])
		mine.onmessage = ({ data }) => mine == socket && receive(data)
		mine.onerror = mine.onclose = ({ reason }) => mine == socket && lost(reason || "connection lost")
	}
	const lost = (reason) => {
		const old = socket
		if (!old) return
		socket = null
		old.close()
		for (const o of outs.values()) o.sent = 0
		for (const i of ins.values()) i.said = undefined
		delay = now() - upAt > 1 ? 0.1 : Math.min(2 * delay, 2)
		upAt = Infinity
		if (up) lostAt = now()
		become("down", reason)
		closing ? finish() : setTimeout(dial, 1000 * delay * (0.5 + Math.random()))
	}
	const tick = () => {
		const time = now()
		if (time - heard > silence) lost("it fell silent")
		flush()
		fail("PeerDown", url + " is not there", ({ since }) => time - Math.max(since, lostAt) > patience)
		if (!closed) timer = setTimeout(tick, 500 * beat)
	}
	const finish = () => {
		if (closed) return
		closed = true
		if (up) post([[7, "closed"]])
		become("closed", "closed")
		fail("Closed", "the peer was closed", () => true)
		for (const taker of takers.values()) taker.fail(new MeshError("Closed", "the peer was closed"))
		clearTimeout(timer)
		const old = socket
		socket = null
		old?.close()
		closing()
	}
	const close = () => new Promise((resolve) => {
		closing = resolve
		up ? soon() : finish()
	})

	// -- Patterns: `begin` has values come on channel `key`; `read` makes of one what to yield, or nothing at the end

	async function* stream(key, signal, begin, leave, read, again) {
		const items = []
		let wake, over, begun
		const end = (error) => taker.push(0, 0, error)
		const start = async () => {
			begun = false
			await begin()
			begun = true
		}
		const taker = {
			push(...item) {
				items.push([...item, terms.incarnation])
				wake?.()
			},
			fail: (error) => begun && (again && !closed ? start().catch(end) : end(error)),
		}
		signal?.throwIfAborted()
		for (let old; (old = takers.get(key)); await old.gone) check(old.gone, "it has a consumer", "Payload")
		takers.set(key, taker)
		signal?.addEventListener("abort", () => end(signal.reason))
		try {
			for (await start(); ; ) {
				while (!items[0]) await new Promise((resolve) => (wake = resolve))
				const [item, took, error, who] = items.shift()
				if (!took) throw error
				took()
				over = true
				const values = read(item, who)
				if (!values) return
				over = false
				yield* values
			}
		} finally {
			for (const [, took] of items) took && took()
			taker.push = (item, took) => took && took()
			taker.gone = Promise.resolve(over || leave()).catch(() => {}).then(() => takers.delete(key))
		}
	}
	const subscribe = (channel, { signal, ...options } = {}) => {
		let next, mine
		options = { policy: "drop_oldest", limit: 1000, latch: true, ...options, channel }
		const begin = () => send("$subscribe", options, { signal }).catch((error) => {
			if (!/Down|Unknown/.test(error.name)) throw error
			return begin()
		})
		return stream("$pub/" + channel, signal, begin, () => send("$unsubscribe", { channel }), ([seq, value, type, text], who) => {
			if (type) throw nacked(type, text)
			check(form(seq) == "i")
			const gap = who == (mine ??= who) ? seq - (next ?? seq) : -1
			if (gap < 0 && who == mine) return []
			mine = who
			next = seq + 1
			return [{ value, seq, gap }]
		}, true)
	}
	const ask = (channel, msg, options) => {
		const id = "" + ++asks
		return stream("$part/" + id, options?.signal, () => send("$ask", { id, channel, msg }, options), () => send("$cancel", { id }), ([kind, value, text]) => {
			check([0, 1, 2].includes(kind))
			if (kind == 2) throw nacked(value, text)
			return kind == 0 && [value]
		})
	}

	const peer = {
		state: "connecting", node: "", onstate: null, send, request: send, subscribe, ask, books: () => ({ ...books }), close,
	}
	dial()
	tick()
	return peer
}
