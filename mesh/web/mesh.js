// A client of `sketchmesh.v1`. mesh.d.ts tells its API; link.md and patterns.md in docs/explanation tell the protocol.
export class MeshError extends Error {
	constructor(kind, message, facts) {
		super(message)
		Object.assign(this, { name: kind + "Error" }, facts)
	}
}
let check = (ok, what = "malformed", kind = "Protocol") => {
	if (!ok) throw new MeshError(kind, what)
}
let MAX = 2 ** 24, BATCH = 2 ** 16, WINDOW = 1024

// MessagePack
let buffer = new Uint8Array(MAX + 2 * BATCH), out = new DataView(buffer.buffer)
export let encode = (value) => {
	let at = 0
	let put = (byte, kind, size = 0, n) => {
		out.setUint8(at++, byte)
		if (size) out["set" + kind + 8 * size](at, n)
		at += size
	}
	let head = (n, small, most, type) =>
		n < most ? put(small + n) : n < 256 && type < 0xdb ? put(type, "Uint", 1, n) : put(type + 2, "Uint", 4, n)
	let raw = (bytes, small, most, type) => {
		if (type) head(bytes.length, small, most, type)
		buffer.set(bytes, at)
		at += bytes.length
	}
	let all = (x, depth) => {
		check(typeof x == "object" && depth < 200, "it cannot be sent", "Payload")
		let isList = x[Symbol.iterator], items = isList ? [...x] : Object.entries(x).flat()
		isList ? head(items.length, 0x90, 16, 0xdb) : head(items.length / 2, 0x80, 16, 0xdd)
		for (let item of items) write(item, depth + 1)
	}
	let write = (x, depth) => {
		let is = typeof x
		let whole = is == "bigint" ? x >= -(2n ** 63n) && x < 2n ** 64n : Number.isSafeInteger(x)
		x == null ? put(0xc0)
		: is == "boolean" ? put(0xc2 + x)
		: is == "string" ? raw(new TextEncoder().encode(x), 0xa0, 32, 0xd9)
		: whole && x > -33 && x < 2 ** 32 ? head(Number(x), 0, 128, 0xcc)
		: whole ? put(x < 0 ? 0xd3 : 0xcf, "BigInt", 8, BigInt(x))
		: is == "number" ? put(0xcb, "Float", 8, x)
		: x instanceof Uint8Array ? raw(x, 0, 0, !x.isPacked && 0xc4)
		: x.toJSON ? write(x.toJSON(), depth)
		: all(x, depth)
	}
	write(value, 0)
	return buffer.slice(0, at)
}
let utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true })
export let decode = (bytes) => {
	let view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length), at = 0, depth = 0
	let get = (kind, size) => {
		let big = view["get" + kind + 8 * size]((at += size) - size), n = Number(big)
		return Number.isSafeInteger(n) ? n : big
	}
	let uint = (size) => get("Uint", size)
	let take = (n) => bytes.slice(at, (at += n))
	let text = (n) => utf8.decode(take(n))
	let list = (n, next = read) => {
		let items = []
		for (check(++depth < 210); n--; ) items.push(next())
		depth--
		return items
	}
	let map = (n) => Object.fromEntries(list(n, () => [read(), read()]))
	let read = () => {
		let b = uint(1), size = 1 << (b & 3)
		check(b != 0xc1)
		return b < 0x80 ? b
		: b < 0x90 ? map(b & 15)
		: b < 0xa0 ? list(b & 15)
		: b < 0xc0 ? text(b & 31)
		: b < 0xc4 ? [null, , false, true][b & 3]
		: b < 0xc7 ? take(uint(size))
		: b < 0xca ? take(uint(1 << (b - 0xc7)) + 1)
		: b < 0xcc ? get("Float", size)
		: b < 0xd4 ? get((size > 4 ? "Big" : "") + (b < 0xd0 ? "Uint" : "Int"), size)
		: b < 0xd9 ? take((1 << (b - 0xd4)) + 1)
		: b < 0xdc ? text(uint(size / 2))
		: b < 0xde ? list(uint(size * 2))
		: b < 0xe0 ? map(uint(size / 2))
		: b - 256
	}
	let value = read()
	check(at == bytes.length)
	return value
}

// Kinds of records, and the types of their fields.
let FORMS = /^(1o|2ss|3snno|4sno|5snnss|6sn|7s|8snnn)$/

export let connect = (url, { name = "browser-" + Math.random(), patience = 10, WebSocket: Socket = WebSocket } = {}) => {
	let outs = new Map(), ins = new Map(), takers = new Map() // by channel
	// what is sent: `items` from number `base` on; so many `given` a number, `sent` on this connection; base the peer was `told`
	let fresh = { base: 1, told: 1, given: 0, bytes: 0, sent: 0 }
	let books = { sent: 0, acked: 0, refused: 0, failed: 0, inFlight: 0 }, incarnation = "" + Math.random()
	let now = () => performance.now() / 1000, terms = { max_message: MAX }
	let session = "", beat = 1, silence = 5, delay = 0.05, asks = 0, lostAt = now()
	let socket, heard, spoke, upAt, up, timer, mute, closing
	let become = (state, reason) => {
		if (peer.state != state) queueMicrotask(() => peer.onstate?.(state, reason))
		peer.state = state
		up = state == "up"
	}
	let nacked = (remoteType, text) => new MeshError("Nacked", text, { remoteType, node: peer.node })

	let send = (ch, value, { timeout, signal } = {}) => new Promise((resolve, reject) => {
		check(!closing, "it is closed", "Closed")
		signal?.throwIfAborted()
		let body = encode(value)
		body.isPacked = true
		check(ch.length < 256 && body.length <= terms.max_message, "too long", "Payload")
		let settle = (line, value) => {
			if (item.settled) return
			item.settled = true
			books[line]++
			books.inFlight--
			clearTimeout(timer)
			signal?.removeEventListener("abort", abort)
			line == "acked" ? resolve(value) : reject(value)
		}
		let item = { body, settle, since: now() }
		let abort = () => settle("failed", signal.reason)
		let late = new MeshError("AckTimeout", `no answer within ${timeout} s`)
		let timer = timeout && setTimeout(settle, 1000 * timeout, "failed", late)
		signal?.addEventListener("abort", abort)
		if (!outs.has(ch)) outs.set(ch, { ...fresh, items: [] })
		outs.get(ch).items.push(item)
		books.sent++
		books.inFlight++
		soon()
	})
	let fail = (error, which) => {
		for (let o of outs.values()) {
			o.items.forEach((item, n) => which(item, n < o.given) && item.settle("failed", error))
			o.items = o.items.filter((item, n) => n < o.given || !item.settled)
		}
	}
	let post = (frame) => {
		spoke = now()
		socket.send(encode(frame))
	}
	let soon = () => queueMicrotask(flush)
	let flush = () => {
		if (!up) return
		let idle = now() - spoke > beat, frame = [], size = 0
		let put = (bytes, ...record) => {
			size += bytes + 1100
			if (size > BATCH && frame[0]) post(frame.splice(0)), (size = bytes)
			frame.push(record)
		}
		for (let [ch, i] of ins) {
			let nils, no
			for (; (no = i.list[i.said - i.base]) !== undefined; i.said++)
				if (no) nils = put(0, 5, ch, i.said, 1, ...no)
				else if (nils) nils.push(no)
				else put(WINDOW, 4, ch, i.said, (nils = [no]))
		}
		for (let [ch, o] of outs) {
			let batch
			while (!mute && o.sent < o.items.length) {
				let { body, settled } = o.items[o.sent], { length } = body
				if (o.sent == o.given) {
					if (o.sent && (o.sent >= terms.window_messages || o.bytes + length > terms.window_bytes)) break
					o.given++
					o.bytes += length
				}
				let n = o.base + o.sent++
				if (settled) batch = put(0, 8, ch, n, o.base, 1)
				else if (batch && (size += length) < BATCH) batch.push(body)
				else put(length, 3, ch, n, o.base, (batch = [body]))
				o.told = o.base
			}
			if (o.base - o.told > (idle ? 0 : 500)) put(0, 6, ch, (o.told = o.base))
		}
		if (idle || frame[0]) post(frame)
		if (closing && !books.inFlight) post([[7, "closed"]]), lost("closed")
	}

	let answer = (ch, first, count, line, value) => {
		let o = outs.get(ch)
		check(first == o?.base && count > 0 && count <= o.sent)
		o.base += count
		o.given -= count
		o.sent -= count
		o.items.splice(0, count).forEach((item, n) => {
			o.bytes -= item.body.length
			item.settle(line, value(n))
		})
	}
	let data = (ch, first, base, items) => {
		// Of what has number `base` on: undefined while in hand, null, or what a NACK says
		let i = ins.get(ch) ?? { base, list: [] }, { list } = i
		let isDone = !list.splice(0, base - i.base).includes(undefined), end = base + list.length
		check(isDone && base >= i.base && first >= base && first <= end && first + items.length - base <= WINDOW)
		ins.set(ch, i)
		i.base = base
		i.said = Math.max(i.said ?? first, base)
		items.slice(end - first).forEach((item, n) => {
			let taker = takers.get(ch), took = (no = null) => {
				list[end + n - i.base] = no
				if (n % 16 == 0 || list.length == end + n + 1 - i.base) soon()
			}
			list.push(undefined)
			if (item === undefined) took(["!skipped", ""])
			else if (taker) taker.push(item, took, terms.incarnation)
			else took(["LookupError", "nobody takes it"])
		})
	}
	let stop = (error, which) => {
		fail(error, which)
		takers.forEach((taker) => taker.fail(error))
	}
	let over = (again) => {
		let error = new MeshError("OutcomeUnknown", "it was sent, but its session is over")
		if (session) stop(error, (item, given) => given && !again)
		for (let o of outs.values()) Object.assign(o, fresh)
		ins.clear()
		session = ""
	}
	let kinds = [,
		(theirs) => {
			let { resumed } = theirs, restarted = terms.incarnation && theirs.incarnation != terms.incarnation
			check(theirs.v == 1 && theirs.session && (!resumed || theirs.session == session))
			if (!resumed) over(restarted)
			terms = resumed ? { ...terms, connections: theirs.connections } : theirs
			session = terms.session
			beat = Math.min(1, theirs.heartbeat)
			silence = Math.min(5, theirs.timeout)
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
			if (ins.get(ch)?.base <= base) data(ch, base, base, [])
			if (!ins.get(ch)?.list.length) ins.delete(ch)
		},
		() => (mute = true),
		(ch, first, base, count) => data(ch, first, base, Array(Math.min(count, WINDOW + 1)).fill()),
	]
	let dial = () => {
		if (closing) return
		let mine = (socket = new Socket(url, "sketchmesh.v1"))
		heard = now()
		mine.binaryType = "arraybuffer"
		mine.onopen = () => post([[0, {
			v: [1], name, incarnation, session, connections: session ? terms.connections : 0, heartbeat: 1, timeout: 5,
			window_messages: WINDOW, window_bytes: 2 ** 22, max_message: MAX,
		}]])
		mine.onmessage = ({ data }) => {
			if (mine != socket) return
			heard = now()
			try {
				for (let [kind, ...fields] of decode(new Uint8Array(data))) {
					if (kind > 31) continue
					check(FORMS.test(kind + fields.map((x) => (typeof x)[0]).join("")) && (kind == 2 || (kind == 1) != up))
					kinds[kind](...fields)
				}
				soon()
			} catch ({ message }) {
				if (socket) post([[2, "protocol", message]])
				over()
				lost("protocol error: " + message)
			}
		}
		mine.onerror = mine.onclose = ({ reason }) => mine == socket && lost(reason || "connection lost")
	}
	let lost = (reason) => {
		if (!socket && !closing) return
		let old = socket
		socket = null
		old?.close()
		for (let o of outs.values()) o.sent = 0
		for (let i of ins.values()) i.said = undefined
		delay = now() - upAt > 1 ? 0.1 : Math.min(2 * delay, 2)
		upAt = Infinity
		if (up) lostAt = now()
		become(closing ? "closed" : "down", reason)
		if (!closing) return setTimeout(dial, 1000 * delay * (0.5 + Math.random()))
		clearInterval(timer)
		stop(new MeshError("Closed", "it is closed"), () => true)
		closing()
	}
	let tick = () => {
		if (now() - heard > silence) lost("it fell silent")
		flush()
		fail(new MeshError("PeerDown", url + " is not there"), ({ since }) => now() - Math.max(since, lostAt) > patience)
	}

	// Has `begin` bring values on channel `key`; `read` makes of one what to yield, or nothing at the end.
	async function* stream(key, signal, begin, leave, read, again) {
		let items = [], wake, over, begun
		let start = async () => {
			begun = false
			await begin()
			begun = true
		}
		let taker = {
			push: (...item) => {
				items.push(item)
				wake?.()
			},
			fail: (error) => begun && (again && !closing ? start().catch(taker.push) : taker.push(error)),
		}
		signal?.throwIfAborted()
		check(!takers.has(key), "it has a consumer", "Payload")
		takers.set(key, taker)
		signal?.addEventListener("abort", () => taker.push(signal.reason))
		try {
			for (await start(); ; ) {
				while (!items[0]) await new Promise((resolve) => (wake = resolve))
				let [item, took, who] = items.shift()
				if (!took) throw item
				took()
				over = true
				let values = read(item, who)
				if (!values) return
				over = false
				yield* values
			}
		} finally {
			taker.push = (item, took) => took?.()
			for (let item of items) taker.push(...item)
			if (!over) await leave().catch(() => {})
			takers.delete(key)
		}
	}
	let subscribe = (channel, { signal, ...options } = {}) => {
		let next, mine, begin = () => send("$subscribe", options, { signal }).catch((error) => {
			if (!/Down|Unknown/.test(error.name)) throw error
			return begin()
		})
		options = { policy: "drop_oldest", limit: 1000, latch: true, ...options, channel }
		return stream("$pub/" + channel, signal, begin, () => send("$unsubscribe", { channel }), ([seq, value, type, text], who) => {
			if (type) throw nacked(type, text)
			check(seq > 0)
			let isNew = who != (mine ??= who), gap = isNew ? -1 : seq - (next ?? seq)
			if (gap < 0 && !isNew) return []
			mine = who
			next = seq + 1
			return [{ value, seq, gap }]
		}, true)
	}
	let ask = (channel, msg, options) => {
		let id = "" + ++asks
		let begin = () => send("$ask", { id, channel, msg }, options), leave = () => send("$cancel", { id })
		return stream("$part/" + id, options?.signal, begin, leave, ([kind, value, text]) => {
			check(kind < 3)
			if (kind == 2) throw nacked(value, text)
			return !kind && [value]
		})
	}
	let peer = { state: "connecting", node: "", onstate: null, send, request: send, subscribe, ask,
		books: () => ({ ...books }),
		close: () => new Promise((resolve) => {
			closing = resolve
			up ? soon() : lost("closed")
		}),
	}
	dial()
	timer = setInterval(tick, 250)
	return peer
}
