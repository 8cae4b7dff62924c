"""Grids that are right, for tests that try each of them."""

from __future__ import annotations

VALID = [
    "nodes: {a: {port: 1}}",
    "nodes: {a: {sketch: x}}",
    "nodes: {a: {sketch: x, port: null}}",
    "nodes:\n  a:\n    port: 65535\n    aliases:\n    args:\ngroups:\norigins:\n",
    "nodes: {a: {port: 1, host: 192.168.1.20}, b: {port: 1, host: pi.local}, c: {port: 1, host: 'fd00::1'}}",
    "nodes:\n  a:\n    host: ::1\n    port: 1\n  b:\n    host: fe80::1%eth0\n    port: 1\n",
    "nodes: {a: {port: 1, tls: {cert: a.crt, key: a.key, authority: ~/b.crt}, doors: ['wss://x:1']}}",
    "nodes: {a: {port: 1, tls: {authority: b.crt}}}",
    "nodes: {a: {port: 1, tls: true}, b: {sketch: 'thermostat.py:Thermostat', target: a}}",
    "nodes: {a: {sketch: 'my sketches/thermo stat.py:T'}, b: {sketch: '../x.py:T'}, c: {sketch: 'a.b_c:T'}}",
    "nodes: {a: {port: 1, aliases: [x, y-z, Q_1]}, b: {sketch: s, peers: [x], target: y-z}}",
    "nodes: {a: {port: 1, peers: []}, b: {port: 2, peers: [a]}}",
    "nodes: {a: {port: 1}, b: {port: 2}}\ngroups: {g: {members: [b, a], topology: ring}, h: {members: [a]}}",
    "nodes: {a: {port: 1}}\norigins: [http://pi.local:8000, 'https://[::1]:1', ext://abc, 'null']",
    'nodes: {a: {sketch: x, args: {none: null, yes_: true, n: -3, t: "NO", deep: {"08:30": [1, [2]]}}}}',
    "nodes:\n  a:\n    sketch: x\n    args:\n      poem: |\n        a\tb\n      b: >-\n        d\n",
    "nodes: {a: {sketch: x, on_error: close}, b: {port: 1, on_error: ignore}}",
    "---\nnodes: {'a': {'port': 1}}\n...\n",
    "nodes: {a: {doors: ['tcp://localhost:1', {url: 'unix:///x', layers: [logging, line], channel: c}]}}",
    "nodes: {a: {port: 1, doors: [{url: 'ws://h:1', layers: [zlib], speaks: link}]}, b: {port: 2, doors: }}",
    "nodes: {a: {doors: [{url: 'tcp://h:1', speaks: link}]}, b: {sketch: x, target: a}}",
    "nodes: {a: {doors: [{url: 'tcp://h:1', idle: 300, max_line: 100}, {url: 'tcp://h:2', idle: 0.5}]}}",
    "nodes: {a: {port: 1, doors: ['serial:///dev/ttyUSB0?baud=9600', 'ws://[::1]:1']}}",
    "nodes: {a: {doors: [{url: 'wss://example.org:1', speaks: link}]}}",
]
