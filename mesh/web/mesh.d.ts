/**
 * What can be sent, and what comes back. Integers beyond 2^53 are `bigint`, bytes are `Uint8Array`. What has `toJSON`,
 * such as a `Date`, is sent as that; other iterables, such as `Set` and `Map`, as a list. JavaScript has one type of
 * number, so a float that is whole, such as 2.0, is sent as an integer, and comes as the same number as one.
 *
 * Of what else MessagePack has, a key of a map that is no text becomes text, and an extension, such as a time with zone
 * from Python, its bytes, the first of which is its type.
 */
export type Value =
  | null
  | boolean
  | number
  | bigint
  | string
  | Uint8Array
  | Value[]
  | { [key: string]: Value }

export interface Options {
  /** What the peer calls us; it has to be unique there. `browser-` and random digits, if not given. */
  name?: string
  /** Seconds that a message, or an answer in parts, waits for an absent peer, 10; `Infinity` for ever. */
  patience?: number
  /** Where there is no global one, as in Node 20: that of the package `ws`. */
  WebSocket?: new (url: string, protocol: string) => any
}

export interface SendOptions {
  /** Seconds from now for the answer to come; else an `AckTimeoutError`. */
  timeout?: number
  /** Gives the message up; it rejects with the signal's reason. */
  signal?: AbortSignal
}

export interface AskOptions {
  /** Seconds from now for the question to be taken; else an `AckTimeoutError`. The parts may take any time. */
  timeout?: number
  /** Ends the answer, also while it waits for a part, with the signal's reason. */
  signal?: AbortSignal
}

export interface SubscribeOptions {
  /** What the publisher does when `limit` values wait for us: `drop_oldest`, if not given. */
  policy?: "block" | "drop_oldest" | "drop_newest" | "latest" | "error"
  /** 1000, if not given. */
  limit?: number
  /** Whether to begin with the last value there was, if the publisher keeps it: true, if not given. */
  latch?: boolean
  /** Ends it, also while it waits for a value, with the signal's reason. */
  signal?: AbortSignal
}

export interface Published<T = any> {
  value: T
  /** Counts what was published on the channel, from 1 at the publisher's start. */
  seq: number
  /**
   * How many values are missing between the one before and this one; 0 for the first, -1 if the publisher was
   * restarted, so nobody can say.
   */
  gap: number
}

export type State = "connecting" | "up" | "down" | "closed"

/** What became of all messages: sent = acked + refused + failed + inFlight. Those of the patterns count as well. */
export interface Books {
  sent: number
  acked: number
  refused: number
  failed: number
  inFlight: number
}

export interface Peer {
  readonly state: State
  /** The peer's name, once it has said it; else empty. */
  readonly node: string
  onstate: ((state: State, reason: string) => void) | null
  /**
   * Send a message, and return what its handler returned. What is sent in one turn travels in one frame.
   * Rejects with a `MeshError`, whose `name` says which, or the signal's reason.
   */
  send<T = any>(channel: string, value: unknown, options?: SendOptions): Promise<T>
  /** The same, by the name that fits a question. */
  request<T = any>(channel: string, value: unknown, options?: SendOptions): Promise<T>
  /**
   * Listen to what the peer publishes, through lost connections, sessions and restarts, from the first `next()` until
   * the loop is left; leaving waits until the publisher knows. Taking a value acknowledges it. A channel has one
   * consumer: a second one is refused with a `PayloadError`, also while the first is leaving. It throws what ends it:
   * a `NackedError` of the publisher, the signal's reason, or a `ClosedError` when the peer is closed from here.
   */
  subscribe<T = any>(channel: string, options?: SubscribeOptions): AsyncGenerator<Published<T>, void, void>
  /**
   * Ask, with the first `next()`, for an answer in parts. Leaving the loop waits until the far generator has ended,
   * unless the peer is down. It throws what ends it: a `NackedError` of the handler, a `PeerDownError` when the peer
   * is away for longer than `patience`, an `OutcomeUnknownError` when it was restarted, or the signal's reason.
   */
  ask<T = any>(channel: string, value: unknown, options?: AskOptions): AsyncGenerator<T, void, void>
  /** What became of everything that was sent. */
  books(): Books
  /** Take nothing new, wait for what was sent to be answered or to fail, and leave; at once if there is no connection. */
  close(): Promise<void>
}

/** Talk to a node, at `ws://host:port`. */
export function connect(url: string, options?: Options): Peer

/** An error of ours; its `name` says which. */
export class MeshError extends Error {
  readonly name:
    /** What came is no valid frame, or no valid item of a pattern. */
    | "ProtocolError"
    /** The value cannot be sent. */
    | "PayloadError"
    /** The peer refused the message; `message` has its words. */
    | "NackedError"
    /** No answer came within `timeout`. */
    | "AckTimeoutError"
    /** The peer was not there in time. */
    | "PeerDownError"
    /** It was sent, and nobody can tell whether it was handled. */
    | "OutcomeUnknownError"
    /** The peer was closed from here. */
    | "ClosedError"
  /** Of a `NackedError`: the type of the error there. */
  readonly remoteType?: string
  /** Of a `NackedError`: the node that refused. */
  readonly node?: string
}

/** MessagePack, up to 16 MiB. `encode` throws a `PayloadError`, or a `RangeError` for what is too large. */
export function encode(value: unknown): Uint8Array
/** Throws if the bytes are not exactly one value. */
export function decode(bytes: Uint8Array): any
