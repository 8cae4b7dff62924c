/** What can be sent, and what comes back: integers beyond 2^53 are `bigint`, bytes are `Uint8Array`. */
export type Value =
  | null
  | boolean
  | number
  | bigint
  | string
  | Uint8Array
  | Extension
  | Value[]
  | Map<Value, Value>
  | { [key: string]: Value }

/** An extension of MessagePack, such as a time with zone from Python (-1); it comes, but cannot be sent as one. */
export interface Extension {
  extension: number
  data: Uint8Array
}

export interface Options {
  /** What the peer calls us; it has to be unique there. `browser-` and random digits, if not given. */
  name?: string
  /** Seconds that a message waits for an absent peer, 10; `Infinity` for ever. */
  patience?: number
  /** Most messages of a channel that are not answered yet, 65536; one more is refused at once. */
  limit?: number
  /** Proposals in seconds: 1 and 5. The smaller one of both ends counts. */
  heartbeat?: number
  timeout?: number
  /** Where there is no global one, as in Node 20: that of the package `ws`. */
  WebSocket?: new (url: string, protocol: string) => any
}

export interface SendOptions {
  /** Seconds from now for the answer to come; else `AckTimeoutError`. */
  timeout?: number
  /** Gives the message up; it rejects with the signal's reason. */
  signal?: AbortSignal
  /** As in `Options`, for this message. */
  patience?: number
  /** At most once: rather fail with `OutcomeUnknownError` than be sent again to a restarted peer. */
  once?: boolean
}

export interface SubscribeOptions {
  /** What the publisher does when `limit` values wait for us: `drop_oldest`, if not given. */
  policy?: "block" | "drop_oldest" | "drop_newest" | "latest" | "error"
  /** 1000, if not given. */
  limit?: number
  /** Whether to begin with the last value there was, if the publisher keeps it: true, if not given. */
  latch?: boolean
}

export interface Published<T = any> {
  value: T
  /** Counts what was published on the channel, from 1 at the publisher's start. */
  seq: number
  /** How many values are missing before this one; -1 if the publisher was restarted, so nobody can say. */
  gap: number
}

/** Values to be taken, one after the other; taking one acknowledges it. For one consumer. */
export interface Feed<T> extends AsyncIterable<T> {
  /** Leave, as breaking out of the loop does. */
  close(): void
}

export type State = "connecting" | "up" | "down" | "closed"

/** What became of the messages of a channel: sent = acked + refused + failed + inFlight. */
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
   * Rejects with `NackedError`, `PeerDownError`, `AckTimeoutError`, `OutcomeUnknownError`, `ClosedError` or
   * `PayloadError`.
   */
  send<T = any>(channel: string, value: unknown, options?: SendOptions): Promise<T>
  /** The same, by the name that fits a question. */
  request<T = any>(channel: string, value: unknown, options?: SendOptions): Promise<T>
  /**
   * Listen to what the peer publishes, through lost connections, sessions and restarts, until the loop is left. All
   * consumers of a channel share one subscription: the options of the first count, the slowest sets the pace, and who
   * joins later begins with the next value. What a callback throws, or what ends its subscription, is an unhandled
   * rejection.
   */
  subscribe<T = any>(
    channel: string,
    options?: SubscribeOptions,
    callback?: (item: Published<T>) => unknown,
  ): Feed<Published<T>>
  /** Ask for an answer in parts. Leaving the loop ends the far generator. */
  ask<T = any>(channel: string, value: unknown, options?: SendOptions): Feed<T>
  /** What became of everything, by channel. */
  books(): { [channel: string]: Books }
  /** Take nothing new, wait up to 3 seconds for the answers to what was sent, and leave. */
  close(): Promise<void>
}

/** Talk to a node, at `ws://host:port`; http and, in a page, relative URLs will do as well. */
export function connect(url: string | URL, options?: Options): Peer

export class MeshError extends Error {}
/** What came is no valid frame. */
export class ProtocolError extends MeshError {}
/** A value cannot be sent, or too many wait already. */
export class PayloadError extends MeshError {}
/** The peer refused the message; `message` has its words. */
export class NackedError extends MeshError {
  readonly remoteType: string
  readonly node: string
}
export class AckTimeoutError extends MeshError {}
/** The peer was not there in time. */
export class PeerDownError extends MeshError {}
/** It was sent, and nobody can tell whether it was handled. */
export class OutcomeUnknownError extends MeshError {}
/** The peer was closed from here. */
export class ClosedError extends MeshError {}

/** MessagePack. `decode` throws if the bytes are not exactly one value. */
export function encode(value: unknown): Uint8Array
export function decode(bytes: Uint8Array): any
