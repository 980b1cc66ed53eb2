package gate.constraints_test

import data.gate.constraints

_many := [sprintf("host:%d", [i]) | some i in numbers.range(1, 64)]

# [target, confidence, constraints, met (widening), excluded (narrowing)]
_cases := [
	["host:a", 0.9, {}, true, false],
	["host:a", 0.9, "all", false, false],
	["host:a", 0.9, null, false, false],
	["host:a", 0.9, {"colour": "red"}, false, false],
	["host:a", 0.9, {"target": "host:a"}, true, false],
	["host:a", 0.9, {"target": ["host:b", "host:a"]}, true, false],
	["host:a", 0.9, {"target": "HOST:A"}, false, false],
	["host:a", 0.9, {"target": "host:b"}, false, true],
	["host:a", 0.9, {"target": []}, false, false],
	["host:a", 0.9, {"target": ["host:b", 7]}, false, false],
	["host:a", 0.9, {"target": 7}, false, false],
	["host:a", 0.9, {"target": array.concat(_many, [])}, false, true],
	["host:a", 0.9, {"target": array.concat(_many, ["host:a"])}, false, false],
	["\u212a", 0.9, {"target": "k"}, false, true],
	["host:a", 0.9, {"target_prefix": "host:"}, true, false],
	["host:a", 0.9, {"target_prefix": ["user:", "HOST:"]}, false, false],
	["host:a", 0.9, {"target_prefix": "user:"}, false, true],
	["host:a", 0.9, {"target_prefix": "host"}, false, false],
	["host:a", 0.9, {"target_prefix": ["host:", "host"]}, false, false],
	["10.0.0.100", 0.9, {"target_prefix": "10.0.0.1"}, false, false],
	["10.0.0.1", 0.9, {"target_cidr": "10.0.0.0/8"}, true, false],
	["10.0.0.1", 0.9, {"target_cidr": ["11.0.0.0/8", "10.0.0.1"]}, true, false],
	["11.0.0.1", 0.9, {"target_cidr": "10.0.0.0/8"}, false, true],
	["0.0.0.0/0", 0.9, {"target_cidr": "10.0.0.0/8"}, false, false],
	["host:a", 0.9, {"target_cidr": "10.0.0.0/8"}, false, false],
	["11.0.0.1", 0.9, {"target_cidr": ["10.0.0.0/8", "10.0.0.1/8"]}, false, false],
	["10.0.0.1", 0.9, {"target_cidr": ["10.0.0.0/8", "ip:11.0.0.1"]}, false, false],
	["11.0.0.1", 0.9, {"not_target_cidr": "10.0.0.0/8"}, true, false],
	["10.0.0.1", 0.9, {"not_target_cidr": "10.0.0.0/8"}, false, false],
	["host:a", 0.9, {"not_target_cidr": "10.0.0.0/8"}, false, false],
	["11.0.0.1", 0.9, {"not_target_cidr": "10.0.0.1/8"}, false, false],
	["host:a", 0.9, {"min_confidence": 0.9}, true, false],
	["host:a", 0.9, {"min_confidence": 0.91}, false, false],
	["host:a", 0.9, {"min_confidence": "0.1"}, false, false],
	["host:a", 0.9, {"min_confidence": -0.1}, false, false],
	["host:a", 2, {"min_confidence": 1.1}, false, false],
	["host:a", "high", {"min_confidence": 0.1}, false, false],
	["host:a", 0.9, {"target": "host:a", "min_confidence": 0.91}, false, false],
	["host:a", 0.9, {"target": "host:b", "colour": "red"}, false, true],
]

test_cases if {
	every case in _cases {
		request := {"target": case[0], "confidence": case[1]}
		met := {1 | constraints.met(case[2]) with input.request as request}
		excluded := {1 | constraints.excluded({"constraints": case[2]}) with input.request as request}
		met == {1} == case[3]
		excluded == {1} == case[4]
	}
}

test_no_confidence_never_meets if {
	not constraints.met({"min_confidence": 0}) with input.request as {"target": "host:a"}
}

test_names_target if {
	every key in ["target", "target_prefix", "target_cidr"] {
		constraints.names_target({key: "x", "min_confidence": 1})
	}
	not constraints.names_target({"not_target_cidr": "10.0.0.0/8", "min_confidence": 1})
	not constraints.names_target("target")
	not constraints.excluded({})
}

test_every_key_of_the_vocabulary_is_judged if {
	samples := {
		"target": "10.0.0.1",
		"target_prefix": "10.",
		"target_cidr": "10.0.0.1",
		"not_target_cidr": "11.0.0.0/8",
		"min_confidence": 0.5,
	}
	object.keys(samples) == object.keys(data.gate.constraints.vocabulary)
	every key, value in samples {
		constraints.met({key: value}) with input.request as {"target": "10.0.0.1", "confidence": 0.5}
	}
}
