"""What a grid may hold: the one definition behind reader, checks and JSON Schema.

Each field carries in its ``Meta`` the constraint, the text that an editor
shows and, in ``extra``, what the reader needs for a good complaint: ``right``
(what to write instead) and ``explain`` (a function that knows better).
"""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

from mesh.gridfile import address, endpoint
from mesh.node import MAX_MESSAGE
from mesh.protocol.fanout import DEFAULT_LIMIT, MAX_CHANNEL, MOST_LIMIT

MOST_IDLE: Final = 7 * 24 * 3600
"""Seconds without a byte that can be asked for."""

Name = Annotated[
    str,
    Meta(pattern=address.NAME, extra={"right": "a name", "explain": address.explain_name}),
]
Host = Annotated[
    str,
    Meta(
        pattern=address.HOST,
        examples=["localhost", "pi.local", "192.168.1.20", "::1"],
        extra={"right": "a host name or an IP address", "explain": address.explain_host},
    ),
]
Sketch = Annotated[
    str,
    Meta(
        pattern=address.SKETCH,
        examples=["buzzer", "thermostat.py:Thermostat", "mypackage.sketches:Thermostat"],
        extra={
            "right": "the name of a sketch, or file.py:ClassName, or package.module:ClassName",
            "explain": address.explain_sketch,
        },
    ),
]
Port = Annotated[int, Meta(ge=1, le=65535)]
Argument = Annotated[
    str,
    Meta(
        pattern=address.ARGUMENT,
        extra={"right": "the name of an argument", "explain": address.explain_argument},
    ),
]
Origin = Annotated[
    str,
    Meta(
        pattern=address.ORIGIN,
        examples=["http://pi.local:8000", "https://example.org"],
        extra={
            "right": "an origin such as http://pi.local:8000; the origin null is written in quotes",
            "explain": address.explain_origin,
        },
    ),
]


Channel = Annotated[
    str,
    Meta(
        pattern=r"^[^$]",
        max_length=MAX_CHANNEL,
        examples=["tick", "pin/13"],
        extra={
            "right": "the name of a channel, which does not begin with $",
            "explain": address.explain_channel,
        },
    ),
]


class SubscribesEntry(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One channel of another node that a node gets what is published on."""

    channel: Annotated[Channel, Meta(description="The channel that the source publishes.")]
    source: Annotated[
        Name, Meta(description="Name of the node that publishes.", extra={"right": "the name of one node"})
    ]
    policy: Annotated[
        Literal["block", "drop_oldest", "drop_newest", "latest", "error"],
        Meta(
            description="What the source does when `limit` values wait for this node.",
            extra={"right": "block, drop_oldest, drop_newest, latest or error"},
        ),
    ] = "drop_oldest"
    limit: Annotated[
        int,
        Meta(
            ge=1,
            le=MOST_LIMIT,
            description="Values that may wait for this node.",
            extra={"right": f"a whole number from 1 to {MOST_LIMIT}"},
        ),
    ] = DEFAULT_LIMIT


Duration = Annotated[
    str,
    Meta(
        pattern=r"^(?=[0-9.]*[1-9])[0-9]{1,9}(\.[0-9]{1,9})?(ms|s|m|h)$",
        examples=["500ms", "30s", "5m"],
        extra={"right": "a duration such as 500ms, 30s or 5m"},
    ),
]
RestartPolicy = Literal["never", "on-failure", "always"]


class RestartEntry(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Whether `mesh up` starts a node again that has ended by itself."""

    policy: Annotated[
        RestartPolicy,
        Meta(
            description="After which ends: none, those with another exit code than 0, or all.",
            extra={"right": "never, on-failure or always"},
        ),
    ] = "on-failure"
    delay: Annotated[
        Duration, Meta(description="How long to wait before the first try; it doubles from one to the next.")
    ] = "500ms"
    most: Annotated[
        int,
        Meta(
            ge=1,
            le=1000,
            description="Ends within the window after which the node is given up.",
            extra={"right": "a whole number from 1 to 1000"},
        ),
    ] = 5
    window: Annotated[Duration, Meta(description="The time in which ends are counted.")] = "60s"


Url = Annotated[
    str,
    Meta(
        pattern=endpoint.URL,
        examples=[
            "tcp://localhost:8007",
            "unix:///run/user/1000/x.sock",
            "serial:///dev/ttyUSB0?baud=115200",
        ],
        extra={"right": "an address such as tcp://localhost:8007", "explain": endpoint.explain_url},
    ),
]
LayerName = Annotated[
    str,
    Meta(
        examples=["line", "len32le", "zlib", "logging"],
        extra={"right": "the name of a layer", "explain": endpoint.explain_layer},
    ),
]


File = Annotated[str, Meta(min_length=1)]


class DoorEntry(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One further door of a node."""

    url: Annotated[Url, Meta(description="Where it listens, and where the others dial it.")]
    layers: Annotated[
        tuple[LayerName, ...] | UnsetType,
        Meta(
            description="What lies between the wire and the messages, first that nearest the wire. Left out: "
            "line for messages and len32le for links where the wire carries bytes, else none.",
            extra={"right": "a list of layers, such as [len32le, zlib]"},
        ),
    ] = UNSET
    speaks: Annotated[
        Literal["messages", "link"],
        Meta(
            description="Whether anybody sends messages there, or the other nodes link with this one there.",
            extra={"right": "messages or link"},
        ),
    ] = "messages"
    channel: Annotated[
        Channel | UnsetType,
        Meta(
            description="The channel of the messages that come; left out, the one without a name.",
            extra={"right": "the name of a channel"},
        ),
    ] = UNSET
    idle: Annotated[
        Annotated[float, Meta(gt=0, le=MOST_IDLE)] | UnsetType,
        Meta(
            description="Seconds after which a client that sends nothing is closed; left out, never.",
            extra={"right": f"a number of seconds above 0, such as 300, up to {MOST_IDLE}"},
        ),
    ] = UNSET
    max_line: Annotated[
        Annotated[int, Meta(ge=1, le=MAX_MESSAGE)] | UnsetType,
        Meta(
            description="Bytes that a line may have; left out, 65536.",
            extra={"right": f"a whole number of bytes from 1 to {MAX_MESSAGE}"},
        ),
    ] = UNSET


class TlsEntry(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The files of a node that speaks TLS."""

    cert: Annotated[
        File | UnsetType,
        Meta(
            description="The certificate that the node shows (PEM). `mesh cert init` makes one.",
            extra={"right": "the path of a file, such as certs/node.crt"},
        ),
    ] = UNSET
    key: Annotated[
        File | UnsetType,
        Meta(
            description="The key of the certificate (PEM).",
            extra={"right": "the path of a file, such as certs/node.key"},
        ),
    ] = UNSET
    authority: Annotated[
        File | UnsetType,
        Meta(
            description="Whom those trust that dial the node (PEM); left out, the authorities of the system.",
            extra={"right": "the path of a file, such as certs/authority.crt"},
        ),
    ] = UNSET


class NodeEntry(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One node: what it runs, where it listens, whom it talks to."""

    sketch: Annotated[
        Sketch | UnsetType,
        Meta(
            description="What the node runs: a shipped sketch, file.py:ClassName (relative to this file) "
            "or package.module:ClassName. Leave it out for a node that somebody else runs."
        ),
    ] = UNSET
    host: Annotated[
        Host,
        Meta(description="Host name or IP address where the others find it, without scheme and port."),
    ] = "localhost"
    port: Annotated[
        Port | None,
        Meta(
            description="Port where it listens. Leave it out for a node that only dials others.",
            extra={"right": "a whole number from 1 to 65535, or leave `port` out if it only dials others"},
        ),
    ] = None
    aliases: Annotated[
        tuple[Name, ...] | None,
        Meta(
            description="Other names that find the same node.",
            extra={"right": "a list of names, such as [iopin]"},
        ),
    ] = ()
    args: Annotated[
        dict[Argument, Any] | None,
        Meta(
            description="Keyword arguments for setup() of the sketch.",
            extra={"right": "arguments by name, such as {sound: beep}"},
        ),
    ] = None
    target: Annotated[
        Name | UnsetType,
        Meta(description="Name of the node that it talks to first.", extra={"right": "the name of one node"}),
    ] = UNSET
    tls: Annotated[
        bool | TlsEntry,
        Meta(
            description="Whether it is dialled as wss:// instead of ws://; with files, how it serves and "
            "whom those trust that dial it. Paths are relative to this file.",
            extra={"right": "true or false, or {cert: FILE, key: FILE, authority: FILE}"},
        ),
    ] = False
    peers: Annotated[
        tuple[Name, ...] | UnsetType,
        Meta(
            description="The only nodes that this one may know. Leave it out for all, write [] for none.",
            extra={"right": "a list of names, [] for none, or leave `peers` out for all"},
        ),
    ] = UNSET
    subscribes: Annotated[
        tuple[
            Annotated[
                SubscribesEntry, Meta(extra={"right": "fields, such as {channel: tick, source: blink}"})
            ],
            ...,
        ]
        | dict[Channel, Name]
        | None,
        Meta(
            description="What it gets of what others publish: channels with the names of their sources, "
            "or a list with policies and limits.",
            extra={
                "right": "sources by channel, such as {tick: blink}, or a list of {channel: …, source: …}"
            },
        ),
    ] = ()
    restart: Annotated[
        RestartPolicy | RestartEntry | UnsetType,
        Meta(
            description="Whether `mesh up` starts the node again when it has ended by itself: "
            "never, on-failure (unless something else is said) or always.",
            extra={"right": "never, on-failure or always, or {policy: …, delay: …, most: …, window: …}"},
        ),
    ] = UNSET
    on_error: Annotated[
        Literal["nack", "close", "ignore"] | UnsetType,
        Meta(
            description="What becomes of a message whose handler raises; left out, the sketch decides.",
            extra={"right": "nack, close or ignore"},
        ),
    ] = UNSET
    doors: Annotated[
        tuple[
            Annotated[
                Url | DoorEntry, Meta(extra={"right": "an address such as tcp://localhost:8007, or {url: …}"})
            ],
            ...,
        ]
        | None,
        Meta(
            description="Where else it listens, besides the websocket of its `port`.",
            extra={"right": "a list of addresses, such as [tcp://localhost:8007]"},
        ),
    ] = ()


class GroupEntry(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Nodes that belong together."""

    members: Annotated[
        tuple[Name, ...],
        Meta(
            min_length=1,
            description="Names of the nodes in the group, in order.",
            extra={"right": "a list of names, such as [blink, buzzer]"},
        ),
    ]
    topology: Annotated[
        Literal["ring"] | UnsetType,
        Meta(
            description="How the members are linked; in a ring each knows only its two neighbours.",
            extra={"right": "ring, or leave `topology` out"},
        ),
    ] = UNSET


# A node that neither runs something nor listens could do nothing at all. The
# reader says so in words; this says it to an editor.
_Useful = Meta(
    extra={"right": "fields under the name, such as `sketch: buzzer`"},
    extra_json_schema={
        "anyOf": [
            {"required": ["sketch"]},
            {"required": ["port"], "properties": {"port": {"type": "integer"}}},
            {"required": ["doors"], "properties": {"doors": {"type": "array", "minItems": 1}}},
        ]
    },
)


class GridFile(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The nodes of a mesh: who there is, where each listens and what it runs."""

    nodes: Annotated[
        dict[Name, Annotated[NodeEntry, _Useful]],
        Meta(
            min_length=1,
            description="Every node by its name.",
            extra={"right": "nodes by name, each with its fields indented below it"},
        ),
    ]
    groups: Annotated[
        dict[
            Name,
            Annotated[
                GroupEntry, Meta(extra={"right": "fields under the name, such as `members: [blink, buzzer]`"})
            ],
        ]
        | None,
        Meta(
            description="Nodes that belong together, by the name of the group.",
            extra={"right": "groups by name, each with its `members`"},
        ),
    ] = None
    origins: Annotated[
        tuple[Origin, ...] | None,
        Meta(
            description="Origins of web pages that may connect, besides pages from this machine.",
            extra={"right": "a list of origins, such as [http://pi.local:8000]"},
        ),
    ] = ()
