# METADATA
# title: Constraints
# description: |
#   The closed vocabulary that limits where an override or whitelist entry applies; the table
#   `data.gate.constraints.vocabulary` describes it. What is stored is judged, not trusted. A
#   constraint is sound when its key is known and every value is what could be written today.
#
#   What widens must be shown to apply: `met` holds only when every constraint is sound and met.
#   What narrows must be shown not to: `excluded` holds only when some constraint is sound and
#   not met. Neither negates a builtin that could fail.
package gate.constraints

import data.gate.targets

# METADATA
# title: Every constraint is sound and met
# description: For force_auto and whitelist entries. Text compares byte for byte.
met(constraints) if {
	is_object(constraints)
	every key, value in constraints {
		_met(key, value)
	}
}

_met("target", value) if input.request.target in _texts(value)

_met("target_prefix", value) if strings.any_prefix_match(input.request.target, _prefixes(value))

_met("target_cidr", value) if {
	some cidr in _networks(value)
	targets.inside(cidr)
}

_met("not_target_cidr", value) if {
	every cidr in _networks(value) {
		targets.disjoint_from(cidr)
	}
}

_met("min_confidence", value) if {
	_is_number_within_1(value)
	is_number(input.request.confidence)
	input.request.confidence >= value
}

# METADATA
# title: The constraints name a target
# description: A whitelist entry must say which targets it is for.
names_target(constraints) if {
	is_object(constraints)
	some key in ["target", "target_prefix", "target_cidr"]
	constraints[key]
}

# METADATA
# title: Some constraint of the override is sound and not met
# description: |
#   For block and require_approval. Text compares ignoring ASCII case. A key that these modes do
#   not take is unsound, and so counts as met.
excluded(override) if {
	is_object(override.constraints)
	some key, value in override.constraints
	_not_met(key, value)
}

_not_met("target", value) if {
	every text in _texts(value) {
		_folded_target != _fold(text)
	}
}

_not_met("target_prefix", value) if {
	every prefix in _prefixes(value) {
		startswith(_folded_target, _fold(prefix)) == false
	}
}

_not_met("target_cidr", value) if {
	every cidr in _networks(value) {
		targets.disjoint_from(cidr)
	}
}

# A string, or an array of 1 to 64 strings, as an array.
_texts(value) := [value] if is_string(value)

_texts(value) := value if {
	is_array(value)
	count(value) > 0
	count(value) <= 64
	every text in value {
		is_string(text)
	}
}

# Texts that end in a separator, so that "10.0.0.1" cannot stand for 10.0.0.100.
_prefixes(value) := texts if {
	texts := _texts(value)
	every text in texts {
		strings.any_suffix_match(text, [".", ":", "/", "-", "_", "@"])
	}
}

# Texts that are addresses or networks, parsed.
_networks(value) := cidrs if {
	texts := _texts(value)
	cidrs := [cidr | some text in texts; cidr := targets.parse(text)]
	count(cidrs) == count(texts)
}

_is_number_within_1(value) if {
	is_number(value)
	value >= 0
	value <= 1
}

_folded_target := _fold(input.request.target)

# Lower case for ASCII letters only; `lower` would also fold letters such as the Kelvin sign.
_fold(text) := strings.replace_n(
	{
		"A": "a", "B": "b", "C": "c", "D": "d", "E": "e", "F": "f", "G": "g", "H": "h", "I": "i",
		"J": "j", "K": "k", "L": "l", "M": "m", "N": "n", "O": "o", "P": "p", "Q": "q", "R": "r",
		"S": "s", "T": "t", "U": "u", "V": "v", "W": "w", "X": "x", "Y": "y", "Z": "z",
	},
	text,
)
