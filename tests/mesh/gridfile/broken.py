"""Broken grids, each with the places of its mistakes.

In each text a ``¦`` stands right before a mistake and is taken out before the
text is read, so the line and column expected are where the mark was. After the
text come, for each mistake in order, words that its message must hold.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

MARK = "¦"


@dataclass(frozen=True)
class Broken:
    """One broken grid."""

    id: str
    marked: str
    words: tuple[Sequence[str], ...]
    schema_too: bool = True
    """Whether the JSON Schema refuses it as well; it sees neither syntax nor names."""

    @property
    def text(self) -> str:
        return self.marked.replace(MARK, "")

    @property
    def places(self) -> list[tuple[int, int]]:
        found = []
        before = ""
        for part in self.marked.split(MARK)[:-1]:
            before += part
            found.append((before.count("\n") + 1, len(before) - before.rfind("\n")))
        return found


def node(fields: str) -> str:
    """Return a grid of a good node ``a`` and a node ``b`` with these fields."""
    return f"nodes:\n  a: {{sketch: clock, port: 1}}\n  b: {{{fields}}}\n"


SHAPES = [
    Broken("empty", "¦", ("the grid is empty",), False),
    Broken("only comments", "¦# nothing\n", ("the grid is empty",), False),
    Broken("only a document start", "¦---\n", ("the grid is empty",)),
    Broken("a word", "¦hello\n", ("the grid is the text 'hello'",)),
    Broken("a list", "¦- a\n- b\n", ("the grid is a list",)),
    Broken("no nodes", "¦origins: []\n", (("`nodes:` is missing", "nodes by name"),)),
    Broken("nodes empty", "¦nodes:\n", ("`nodes` is empty",)),
    Broken("nodes empty mapping", "nodes: ¦{}\n", ("`nodes` is empty",)),
    Broken("nodes a list", "nodes:\n  ¦- name: clock\n", (("`nodes` is a list", "nodes by name"),)),
    Broken("node a number", "nodes:\n  a: ¦8765\n", (("'a' is the number 8765", "sketch: buzzer"),)),
    Broken("node without fields", "nodes:\n  ¦a:\n", (("'a' is empty", "sketch: buzzer"),)),
    Broken("node with no use", "nodes:\n  ¦a: {}\n", (("neither a sketch nor a port", "`sketch:`"),)),
    Broken(
        "node forgot nodes:",
        "¦¦buzzer:\n  sketch: buzzer\n",
        ("indented below `nodes:`", "`nodes:` is missing"),
    ),
    Broken("unknown top field", "nodes: {a: {port: 1}}\n¦group: {}\n", ("did you mean `groups`?",)),
    Broken("unknown top field far", "nodes: {a: {port: 1}}\n¦clock: {}\n", ("indented below `nodes:`",)),
    Broken("unknown field", node("¦prot: 2, sketch: x"), (("unknown field 'prot'", "did you mean `port`?"),)),
    Broken(
        "unknown field far",
        node("¦zzz: 2, sketch: x"),
        (("unknown field 'zzz'", "the fields here are sketch"),),
    ),
    Broken(
        "unknown group field",
        "nodes: {a: {port: 1}}\ngroups: {g: {¦member: [a], members: [a]}}",
        ("`members`?",),
    ),
    Broken(
        "group without members",
        "nodes: {a: {port: 1}}\ngroups: {¦g: {}}",
        (("`members:` is missing", "a list"),),
    ),
]
VALUES = [
    Broken("sketch a number", node("sketch: ¦5"), (("`sketch` is the number 5", "file.py:ClassName"),)),
    Broken("sketch true", node("sketch: ¦true"), (("`sketch` is true", "put 'true' in quotes"),)),
    Broken("target null", node("sketch: x, target: ¦null"), (("`target` is null", "the name of one node"),)),
    Broken("sketch empty", node("¦sketch: "), ("`sketch` is empty",)),
    Broken("sketch spaces", node("sketch: ¦my sketch"), (("'my sketch' is not a sketch", "ClassName"),)),
    Broken("sketch file only", node("sketch: ¦x.py"), (("not a sketch", "'x.py:ClassName'"),)),
    Broken("sketch module only", node("sketch: ¦a.b"), (("not a sketch", "'a.b:ClassName'"),)),
    Broken("sketch two colons", node("sketch: ¦x.py:A:B"), ("not a sketch",)),
    Broken("sketch bad class", node("sketch: ¦x.py:9"), ("not a sketch",)),
    Broken("host number", node("port: 2, host: ¦5"), (("`host` is the number 5", "IP address"),)),
    Broken("host empty", node("port: 2, host: ¦''"), ("an empty host",)),
    Broken("host null", node("port: 2, ¦host: "), ("`host` is empty",)),
    Broken("host scheme", node("port: 2, host: ¦ws://pi"), (("not a host", "leave out ws://"),)),
    Broken("host port", node("port: 2, host: ¦'pi:80'"), (("not a host", "`port: 80`"),), False),
    Broken("host spaces", node("port: 2, host: ¦my pi"), ("no spaces",)),
    Broken("host slash", node("port: 2, host: ¦pi/x"), ("no slash",)),
    Broken("host brackets", node("port: 2, host: ¦'[::1]'"), ("without brackets",)),
    Broken(
        "host open brackets",
        node("port: 2, host: [¦::1]"),
        (("'[::1]' starts a list", "without brackets: ::1"),),
        schema_too=False,
    ),
    Broken("host list", node("port: 2, host: ¦[pi]"), ("`host` is a list",)),
    Broken("host mapping", node("port: 2, host: ¦{pi: x}"), ("`host` is a mapping",)),
    Broken("host three numbers", node("port: 2, host: ¦10.0.0"), ("four numbers",), False),
    Broken("host too big numbers", node("port: 2, host: ¦10.0.0.256"), ("four numbers",), False),
    Broken("host label", node("port: 2, host: ¦-pi-"), ("not a host",), False),
    Broken("host international", node("port: 2, host: ¦käse.example"), ("xn--",), False),
    Broken("host zone", node("port: 2, host: ¦'fe80::1%a b'"), ("%eth0",)),
    Broken("host line break", node('port: 2, host: ¦"pi\\n"'), ("no spaces",), False),
    Broken(
        "port text", node("port: ¦'8765'"), (("`port` is the text '8765'", "from 1 to 65535", "no quotes"),)
    ),
    Broken("port word", node("port: ¦abc"), (("`port` is the text 'abc'", "from 1 to 65535"),)),
    Broken("port zero", node("port: ¦0"), (("`port` is the number 0", "from 1 to 65535"),)),
    Broken("port large", node("port: ¦65536"), ("`port` is the number 65536",)),
    Broken("port negative", node("port: ¦-1"), ("`port` is the number -1",)),
    Broken("port fraction", node("port: ¦80.5"), ("`port` is the number 80.5",)),
    Broken("port true", node("port: ¦true"), ("`port` is true",)),
    Broken("port list", node("port: ¦[1]"), ("`port` is a list",)),
    Broken("tls text", node("port: 2, tls: ¦'true'"), (("`tls` is the text 'true'", "true or false"),)),
    Broken(
        "tls without a file",
        node("port: 2, ¦tls: {}"),
        (("`tls` names no file", "write true, or {cert"),),
        False,
    ),
    Broken(
        "tls with a key alone",
        node("port: 2, ¦tls: {key: a.key}"),
        (("`tls` has a key and no certificate", "add `cert: FILE`"),),
        schema_too=False,
    ),
    Broken(
        "tls with another file",
        node("port: 2, tls: {cert: a, ¦keyfile: b}"),
        (("unknown field 'keyfile'", "did you mean `key`?"),),
    ),
    Broken("tls with an empty path", node("port: 2, tls: {cert: ¦''}"), (("`cert`", "the path of a file"),)),
    Broken("tls number", node("port: 2, tls: ¦1"), ("`tls` is the number 1",)),
    Broken("aliases text", node("port: 2, aliases: ¦x"), (("`aliases` is the text 'x'", "[iopin]"),)),
    Broken(
        "aliases item",
        node("port: 2, aliases: [x, ¦5, ¦y z]"),
        ("an item of `aliases`", "'y z' is not a name"),
    ),
    Broken("args list", node("sketch: x, args: ¦[1]"), (("`args` is a list", "{sound: beep}"),)),
    Broken("args text", node("sketch: x, args: ¦hello"), ("`args` is the text 'hello'",)),
    Broken("args name", node("sketch: x, args: {¦my-arg: 1}"), (("'my-arg'", "`setup()`"),)),
    Broken(
        "args name number",
        node("sketch: x, args: {¦1: 1}"),
        (("the key is the number 1", 'write "1"'),),
        False,
    ),
    Broken("target number", node("sketch: x, target: ¦5"), ("`target` is the number 5",)),
    Broken("target list", node("sketch: x, target: ¦[a]"), ("`target` is a list",)),
    Broken("peers text", node("sketch: x, peers: ¦a"), (("`peers` is the text 'a'", "[] for none"),)),
    Broken("peers empty", node("sketch: x, ¦peers: "), (("`peers` is empty", "[] for none"),)),
    Broken("name digit", "nodes:\n  ¦9a: {port: 1}\n", (("'9a' is not a name", "starts with a letter"),)),
    Broken("name number", "nodes:\n  ¦9: {port: 1}\n", (("the key is the number 9", 'write "9"'),), False),
    Broken("name reserved", "nodes:\n  ¦$sys: {port: 1}\n", (("'$sys' is reserved", "drop the $"),)),
    Broken("name long", f"nodes:\n  ¦{'a' * 65}: {{port: 1}}\n", (("65 characters", "64 at most"),)),
    Broken("name empty", "nodes:\n  ¦'': {port: 1}\n", ("'' is not a name",)),
    Broken("name dot", "nodes:\n  ¦a.b: {port: 1}\n", ("'a.b' is not a name",)),
    Broken("name international", "nodes:\n  ¦ä: {port: 1}\n", ("'ä' is not a name",)),
    Broken("name null", "nodes:\n  ¦null: {port: 1}\n", (("the key is null", 'write "null"'),), False),
    Broken(
        "topology",
        "nodes: {a: {port: 1}}\ngroups: {g: {members: [a], topology: ¦star}}",
        (("'star'", "ring"),),
    ),
    Broken("on_error", "nodes: {a: {port: 1, on_error: ¦retry}}", (("'retry'", "nack, close or ignore"),)),
    Broken(
        "members empty", "nodes: {a: {port: 1}}\ngroups: {g: {members: ¦[]}}", ("`members` is an empty list",)
    ),
    Broken(
        "members text", "nodes: {a: {port: 1}}\ngroups: {g: {members: ¦a}}", ("`members` is the text 'a'",)
    ),
    Broken("group a list", "nodes: {a: {port: 1}}\ngroups: {g: ¦[a]}", (("'g' is a list", "`members"),)),
    Broken("groups a list", "nodes: {a: {port: 1}}\ngroups: ¦[a]", ("`groups` is a list",)),
    Broken("group reserved", "nodes: {a: {port: 1}}\ngroups: {¦$g: {members: [a]}}", ("reserved",)),
]
ORIGINS = [
    Broken(f"origin {origin}", f"nodes: {{a: {{port: 1}}}}\norigins:\n  - ¦{origin}\n", (words,), schema_too)
    for origin, words, schema_too in [
        ("http://pi/x", ("not an origin", "no path: 'http://pi'"), True),
        ("http://pi/", ("not an origin", "no path"), True),
        ("pi.local", ("not an origin", "write the scheme too"), True),
        ("http://", ("not an origin", "scheme://host"), True),
        ("http://pi:x", ("not an origin", "scheme://host:port"), True),
        ("http://pi:70000", ("not an origin", "from 1 to 65535"), False),
        ("http://*", ("has a star", "list each origin"), True),
        ("'*'", ("has a star", "list each origin"), True),
        ("'Null'", ("not an origin",), True),
        ("file:///x", ("not an origin", "over http"), True),
        ("5", ("an item of `origins` is the number 5",), True),
    ]
] + [
    Broken("origin null", "nodes: {a: {port: 1}}\norigins: [¦null]", (("null", "in quotes"),)),
    Broken("origins text", "nodes: {a: {port: 1}}\norigins: ¦http://pi", ("`origins` is the text",)),
]
TOGETHER = [
    Broken(id, text, words, schema_too=False)
    for id, text, words in [
        ("alias is a name", node("port: 2, aliases: [¦a]"), ("is the name of another node",)),
        ("alias of itself", node("port: 2, aliases: [¦b]"), ("says a name of b again",)),
        ("alias twice", node("port: 2, aliases: [x, ¦x]"), ("says a name of b again",)),
        (
            "alias of two",
            "nodes:\n  a: {port: 1, aliases: [x]}\n  b: {port: 2, aliases: [¦x]}\n",
            ("is also an alias of a",),
        ),
        (
            "target unknown",
            node("sketch: x, target: ¦zebra"),
            (("'zebra' is not in the grid", "has a and b"),),
        ),
        (
            "target misspelt",
            "nodes:\n  buzzer: {port: 1}\n  b: {sketch: x, target: ¦buzer}\n",
            (("target 'buzer'", "did you mean 'buzzer'?"),),
        ),
        ("target itself", node("sketch: x, port: 2, target: ¦b"), ("is b itself",)),
        ("target itself by alias", node("port: 2, aliases: [c], target: ¦c"), ("is b itself",)),
        (
            "target without port",
            "nodes:\n  a: {sketch: clock}\n  b: {sketch: x, target: ¦a}\n",
            (("'a' has no port", "give a a `port:`"),),
        ),
        (
            "target hidden",
            "nodes:\n  a: {port: 1}\n  c: {port: 2}\n  b: {sketch: x, peers: [a], target: ¦c}\n",
            (("not among the `peers:` of b", "add c"),),
        ),
        ("peer unknown", node("sketch: x, peers: [a, ¦zebra]"), ("'zebra' in `peers` is not in the grid",)),
        ("peer itself", node("sketch: x, peers: [¦b]"), ("is the node itself",)),
        ("peer twice", node("sketch: x, peers: [a, ¦a]"), ("is there twice",)),
        ("same port", node("port: ¦1"), (("b and a both listen on port 1", "a port of its own"),)),
        ("same port 127.0.0.1", node("port: ¦1, host: 127.0.0.1"), ("both listen on port 1",)),
        ("same port ::1", node("port: ¦1, host: '::1'"), ("both listen on port 1",)),
        (
            "same port by case",
            "nodes:\n  a: {port: 1, host: pi.local}\n  b: {port: ¦1, host: PI.local.}\n",
            ("both listen on port 1",),
        ),
        (
            "same port by spelling of IPv6",
            "nodes:\n  a: {port: 1, host: fd00::1}\n  b: {port: ¦1, host: 'fd00:0::0001'}\n",
            ("both listen on port 1",),
        ),
        (
            "member unknown",
            "nodes: {a: {port: 1}}\ngroups: {g: {members: [a, ¦z]}}",
            ("'z' in `members` is not",),
        ),
        ("member twice", "nodes: {a: {port: 1}}\ngroups: {g: {members: [a, ¦a]}}", ("is there twice",)),
        ("group like a node", "nodes: {a: {port: 1}}\ngroups: {¦a: {members: [a]}}", ("named like a node",)),
        (
            "ring without port",
            "nodes: {a: {port: 1}, c: {sketch: x}}\ngroups: {g: {members: [a, ¦c], topology: ring}}",
            (("'c' has no port", "out of the ring"),),
        ),
        (
            "ring of strangers",
            (
                "nodes: {a: {port: 1, peers: [b]}, b: {port: 2}, c: {port: 3}}\n"
                "groups: {g: {members: [¦a, b, c], topology: ring}}"
            ),
            (("'a' may not know c", "add it to the `peers:` of a"),),
        ),
    ]
]
AMBIGUOUS = [
    Broken(
        f"ambiguous {word}",
        node(f"sketch: x, args: {{x: ¦{word}}}"),
        ((f'write "{word}" with quotes',),),
        False,
    )
    for word in (
        *("NO", "no", "yes", "Yes", "on", "OFF", "True", "FALSE", "Null", "~", "=", "<<"),
        *("08:30", "1:30:00", "1_000", "017", "0o17", "0x1F", "0b11", "1e3", "1.5e3", ".5", "5.", "+5"),
        *("01.5", ".inf", "-.INF", ".nan", "2024-01-01", "2001-12-14t21:59:43"),
    )
] + [
    Broken("ambiguous key", node("sketch: x, args: {¦on: 1}"), (('write "on" with quotes',),), False),
    Broken("ambiguous name", "nodes:\n  ¦no: {port: 1}\n", (('write "no" with quotes',),), False),
    Broken("ambiguous port", node("port: ¦08765"), (('write "08765" with quotes', "leading zeros"),), False),
]
SYNTAX = [
    Broken(id, text, words, schema_too=False)
    for id, text, words in [
        ("tab indents", "nodes:\n¦\ta: 1\n", (("a tab", "with spaces"),)),
        ("tab separates", "nodes:\n  a:¦\t1\n", ("a tab",)),
        ("tab after a key", "nodes¦\t: 1\n", ("a tab",)),
        ("quote never closed", "nodes:\n  a: {sketch: ¦'x}\n", ("never closed",)),
        ("double quote never closed", 'nodes:\n  a: {sketch: ¦"x}\n', ("never closed",)),
        ("list never closed", "nodes:\n  a: {aliases: ¦[x", ("this [ is never closed",)),
        ("mapping never closed", "nodes:\n  a: ¦{port: 1\n", ("this { is never closed",)),
        ("ends after an opening", "nodes: {¦", ("the grid ends within",)),
        ("document end alone", "¦...\n", ("a document mark",)),
        ("document within a list", "nodes: [\n¦---\n", ("the grid ends within",)),
        ("question mark", "nodes: ¦? x\n", ("a ? where no key",)),
        ("two colons", "nodes:\n  a: b¦: c\n", ("a colon where no field can be",)),
        ("field below a value", "nodes: x\n  port¦: 1\n", (("a colon", "align"),)),
        ("colon missing", "nodes:\n  a:\n    port: 1\n    ¦host\n", (("a colon is missing", "name: value"),)),
        ("indentation", "nodes:\n  a:\n    port: 1\n   ¦host: b\n", ("the indentation fits nothing",)),
        ("list item among fields", "nodes:\n  a:\n    port: 1\n    ¦- x\n", ("a list item where a field",)),
        ("field in a list", "nodes:\n  - a\n  ¦b: 1\n", ("a field where a list item",)),
        ("address in braces", node("port: 1, host: ¦::1"), ((": where a value", "in quotes"),)),
        ("text after a quote", "nodes: {}\na: 'b' ¦'c'\n", ("text after the end",)),
        ("reserved character", "nodes: ¦@x\n", (("cannot start with @", "in quotes"),)),
        ("percent", "nodes: ¦%x\n", ("cannot start with %",)),
        ("backtick", "nodes: ¦`x`\n", ("cannot start with `",)),
        ("unknown escape", 'nodes: "a\\¦q"\n', (("unknown escape \\q", "backslash"),)),
        ("short escape", 'nodes: "a\\x¦1"\n', ("an escape is cut short",)),
        ("closing without opening", "nodes: ¦]\n", ("] where a value should be",)),
        ("text after |", "nodes: |¦x\n  y\n", ("text after | or >",)),
        ("directive", "¦%YAML 1.2\n---\nnodes: {}\n", (("a directive", "%"),)),
        ("directive of another YAML", "¦%YAML 9.1\n---\nnodes: {}\n", ("a directive",)),
        ("unknown directive", "¦%FOO x\n---\nnodes: {}\n", ("a directive",)),
        ("tag directive", "¦%TAG ! x:\n---\nnodes: {}\n", ("a directive",)),
        ("two documents", "nodes: {a: {port: 1}}\n¦---\nnodes: {}\n", ("a second document",)),
        ("text after the end", "nodes: {a: {port: 1}}\n...\n¦x\n", ("after the end of the document",)),
        ("anchor", "nodes: ¦&x {a: {port: 1}}\n", (("anchor 'x'", "not allowed"),)),
        ("alias", node("sketch: x, args: {x: ¦*y}"), (("alias 'y'", "write the value out"),)),
        ("alias as key", "nodes: {¦*y : {port: 1}, a: {port: 1}}\n", ("alias 'y'",)),
        (
            "merge key",
            "nodes: {a: {port: 1, ¦<<: {tls: true}}}\n",
            (("merge key <<", "write the fields out"),),
        ),
        ("python tag", node("sketch: ¦!!python/name:os.system x"), (("tag", "python/name:os.system"),)),
        ("own tag", node("sketch: ¦!secret x"), (("tag '!secret'", "in quotes"),)),
        ("tag on a mapping", "nodes: ¦!x {a: {port: 1}}\n", ("tag '!x'",)),
        ("undefined tag", "nodes: ¦!z!x {a: {port: 1}}\n", ("a tag",)),
        (
            "duplicate field",
            "nodes:\n  a:\n    port: 1\n    ¦port: 2\n",
            (("duplicate key 'port'", "line 3"),),
        ),
        ("duplicate node", "nodes:\n  a: {port: 1}\n  ¦a: {port: 2}\n", (("duplicate key 'a'", "line 2"),)),
        ("duplicate in quotes", "nodes:\n  a: {port: 1}\n  ¦'a': {port: 2}\n", ("duplicate key 'a'",)),
        (
            "list as key",
            "nodes:\n  ¦[a]: {port: 1}\n  b: {port: 1}\n",
            ("a key that is a list or a mapping",),
        ),
        ("mapping as key", "nodes:\n  ? ¦{a: b}\n  : {port: 1}\n  b: {port: 1}\n", ("a key that is a list",)),
        ("lone surrogate", node('sketch: x, args: {x: ¦"\\ud800"}'), ("half of a character",)),
        ("null byte", "nodes:\n  a¦\0b: 1\n", ("control character U+0000",)),
        ("escape byte", "nodes:\n  a¦\x1b[2J: 1\n", ("control character U+001B",)),
        ("bidirectional override", "nodes:\n  # ¦\u202e\n", ("control character U+202E",)),
        ("line separator", "nodes: # x¦\u2028  a\n", ("control character U+2028",)),
        ("next line", "nodes: # x¦\x85  a\n", ("control character U+0085",)),
        ("second byte order mark", "nodes: ¦\ufeffx\n", ("control character U+FEFF",)),
        ("lone carriage return", "nodes:¦\r  a: 1\r", (("U+000D", "LF or CRLF"),)),
        ("seventeen levels", "nodes: " + "[" * 15 + "¦[" + "]" * 16, ("deeper than 16 levels",)),
        ("block of seventeen levels", "- " * 16 + "¦- x", ("deeper than 16 levels",)),
        ("integer of many digits", node(f"port: ¦{'9' * 5000}"), ("too large for a number",)),
        (
            "integer of 65 bits",
            node("sketch: x, args: {x: ¦9223372036854775808}"),
            ("too large for a number",),
        ),
        (
            "float of many digits",
            node(f"sketch: x, args: {{x: ¦0.{'1' * 5000}}}"),
            ("too long or too large",),
        ),
        ("infinite float", node("sketch: x, args: {x: ¦1.0e+999}"), ("too long or too large",)),
    ]
]
DOORS = [
    Broken("doors a word", node("port: 2, doors: ¦tcp"), (("`doors` is", "[tcp://localhost:8007]"),)),
    Broken("door a number", node("port: 2, doors: [¦1]"), (("an item of `doors` is the number 1",),)),
    Broken("door without a scheme", node("port: 2, doors: [¦'localhost:1']"), (("no address", "tcp://"),)),
    Broken(
        "door of an unknown scheme",
        node("port: 2, doors: [¦'tpc://localhost:1']"),
        (("scheme 'tpc' is not known", "did you mean 'tcp'?", "there are tcp, unix"),),
        False,
    ),
    Broken(
        "door without a port",
        node("doors: [¦'tcp://x']"),
        (("it has no port", "tcp://localhost:8007"),),
        False,
    ),
    Broken("door of port 0", node("doors: [¦'tcp://x:0']"), (("takes any free port",),), False),
    Broken(
        "door with a parameter too many",
        node("doors: [¦'serial:///dev/x?bauds=1']"),
        (("parameter 'bauds' is not known, did you mean 'baud'?",),),
        False,
    ),
    Broken(
        "a rate that is no number",
        node("doors: [¦'serial:///dev/x?baud=fast']"),
        (("baud is 'fast'", "write a whole number"),),
        False,
    ),
    Broken(
        "a rate that no port has",
        node("doors: [{url: ¦'serial:///dev/x?baud=12345'}]"),
        (("no rate of 12345 baud", "the nearest is 9600"),),
        False,
    ),
    Broken(
        "a door within the process",
        node("doors: [¦'memory://x']"),
        (("no client can reach it", "write tcp://"),),
        False,
    ),
    Broken(
        "a door that needs a certificate",
        node("sketch: x, doors: [¦{url: 'wss://x:1', speaks: link}]"),
        (("needs a certificate", "ws:// on localhost"),),
        False,
    ),
    Broken(
        "messages at a door that needs a certificate",
        node("doors: [¦'wss://x:1']"),
        (("needs a certificate",),),
        False,
    ),
    Broken(
        "another compression",
        node("doors: [¦'ws://x:1?compression=gzip']"),
        (("compression is 'gzip'", "write compression=deflate"),),
        False,
    ),
    Broken(
        "a link with an extension",
        node("doors: [¦{url: 'ws://x:1?compression=deflate', speaks: link}]"),
        (("takes no extensions", "[zlib]"),),
        False,
    ),
    Broken("path with a host", node("doors: [¦'unix://x/y']"), (("it has a path and no host",),), False),
    Broken(
        "door with an unknown field",
        node("doors: [{url: 'tcp://x:1', ¦layer: [line]}]"),
        (("unknown field 'layer'", "`layers`?"),),
    ),
    Broken("door without an address", node("port: 2, doors: [¦{layers: [line]}]"), (("`url:` is missing",),)),
    Broken(
        "unknown layer",
        node("doors: [{url: 'tcp://x:1', layers: [¦len32el]}]"),
        (("layer 'len32el' is not known, did you mean 'len32le'?", "there are line, len32le"),),
        False,
    ),
    Broken(
        "a line carries no link",
        node("doors: [¦{url: 'tcp://x:1', layers: [line], speaks: link}]"),
        (("a line cannot carry a link", "[len32le]"),),
        False,
    ),
    Broken(
        "bytes that nobody cuts",
        node("doors: [¦{url: 'tcp://x:1', layers: [zlib]}]"),
        (("none of its layers cuts them into messages", "line or len32le"),),
        False,
    ),
    Broken(
        "bytes above lines",
        node("doors: [¦{url: 'tcp://x:1', layers: [line, logging, zlib]}]"),
        (("has zlib above line", "len32le instead of line, or leave zlib out"),),
        False,
    ),
    Broken(
        "idle for ever",
        node("doors: [{url: 'tcp://x:1', idle: ¦0}]"),
        (("`idle` is the number 0", "above 0, such as 300"),),
    ),
    Broken(
        "a link that is idle",
        node("doors: [¦{url: 'tcp://x:1', idle: 1.5, speaks: link}]"),
        (("heartbeats", "remove `idle:`"),),
        False,
    ),
    Broken(
        "a line of no bytes",
        node("doors: [{url: 'tcp://x:1', max_line: ¦0}]"),
        (("`max_line` is the number 0", "from 1 to 16777216"),),
    ),
    Broken(
        "a limit for lines where there are none",
        node("doors: [¦{url: 'tcp://x:1', layers: [len32le], max_line: 10}]"),
        (("has no lines", "remove `max_line:`"),),
        False,
    ),
    Broken(
        "a channel of a link",
        node("doors: [¦{url: 'tcp://x:1', channel: c, speaks: link}]"),
        (("has all channels", "remove `channel:`"),),
        False,
    ),
    Broken(
        "speaks", node("doors: [{url: 'tcp://x:1', speaks: ¦lines}]"), (("`speaks` is", "messages or link"),)
    ),
    Broken("a door twice", node("doors: ['tcp://x:1', ¦'tcp://x:1']"), (("is there twice",),), False),
]
SEVERAL = [
    Broken(
        "all at once, in order",
        "nodes:\n"
        "  ¦$a: {port: 1}\n"
        "  b:\n"
        "    ¦prot: 5\n"
        "    port: ¦0\n"
        "    host: ¦http://x\n"
        "  c:\n"
        "    sketch: ¦NO\n"
        "    target: ¦d\n"
        "    port: ¦1\n"
        "groups:\n"
        "  g: {members: [¦zebra]}\n"
        "origins: [¦x]\n",
        (
            ("reserved",),
            ("`port`?",),
            ("number 0",),
            ("leave out http://",),
            ("'NO' could be text or false",),
            ("target 'd'",),
            ("both listen",),
            ("'zebra'",),
            ("not an origin",),
        ),
    ),
]
BROKEN = [*SHAPES, *VALUES, *ORIGINS, *TOGETHER, *AMBIGUOUS, *SYNTAX, *DOORS, *SEVERAL]
