package gate.targets_test

import data.gate.targets

_networks := {
	"10.0.0.1": "10.0.0.1/32",
	"10.0.0.0/8": "10.0.0.0/8",
	"0.0.0.0/0": "0.0.0.0/0",
	"2001:DB8::1": "2001:db8::1/128",
	"2001:db8::/32": "2001:db8::/32",
	"::ffff:10.0.0.1": "10.0.0.1/32",
	"::ffff:10.0.0.0/104": "10.0.0.0/8",
	"::ffff:0:0/96": "0.0.0.0/0",
	"::/0": "::/0",
}

test_networks if {
	every text, cidr in _networks {
		targets.parse(text) == cidr
	}
}

test_no_networks if {
	every text in [
		"", "10.0.0", "010.0.0.1", "10.0.0.1.", "10.0.0.1/8", "10.0.0.0/08", "10.0.0.0/33", "10.0.0.0/", "/8", "10.0.0.0/8/8",
		"fe80::1%eth0", "fe80::1%eth0/64", "::ffff:10.0.0.1/104", "１0.0.0.1", "10.0.0.1\u200b", " 10.0.0.1", "ip:10.0.0.1", "host:a",
	] {
		not targets.parse(text)
	}
}

test_target_without_ip_prefix if {
	targets.network == "10.0.0.1/32" with input.request.target as "ip:10.0.0.1"
	not targets.network with input.request.target as "ip:ip:10.0.0.1"
	not targets.network with input.request.target as "IP:10.0.0.1"
}

# [target, network, inside, disjoint]
_pairs := [
	["10.0.0.1", "10.0.0.0/8", true, false],
	["10.0.0.0/8", "10.0.0.0/8", true, false],
	["10.0.0.0/7", "11.0.0.0/8", false, false],
	["10.0.0.0/7", "10.0.0.0/8", false, false],
	["0.0.0.0/0", "10.0.0.0/8", false, false],
	["11.0.0.1", "10.0.0.0/8", false, true],
	["::ffff:10.0.0.1", "10.0.0.0/8", true, false],
	["2001:db8::1", "2001:db8::/32", true, false],
	["2001:db9::1", "2001:db8::/32", false, true],
	["2001:db8::1", "10.0.0.0/8", false, true],
	["10.0.0.1", "::/0", false, false],
	["::/0", "10.0.0.0/8", false, false],
	["::fffe:0:0/95", "10.0.0.0/8", false, false],
	["::fffe:0:0/96", "10.0.0.0/8", false, true],
	["::/96", "10.0.0.0/8", false, true],
	["::/80", "::/0", true, false],
]

test_pairs if {
	every pair in _pairs {
		inside := {1 | targets.inside(pair[1]) with input.request.target as pair[0]}
		disjoint := {1 | targets.disjoint_from(pair[1]) with input.request.target as pair[0]}
		inside == {1} == pair[2]
		disjoint == {1} == pair[3]
	}
}

test_no_network_is_neither if {
	not targets.inside("10.0.0.0/8") with input.request.target as "host:a"
	not targets.disjoint_from("10.0.0.0/8") with input.request.target as "host:a"
}
