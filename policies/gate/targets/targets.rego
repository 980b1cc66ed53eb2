# METADATA
# title: Targets and networks
# description: |
#   Reads addresses and networks strictly: no zone, no leading zeros, no bits behind the prefix
#   length. IPv4-mapped IPv6 (RFC 4291, section 2.5.5.2) counts as the IPv4 it stands for.
package gate.targets

# METADATA
# title: The target's network
# description: |
#   The request's target, less an `ip:` prefix, as a network; undefined where the target is
#   neither an address nor a network.
network := parse(trim_prefix(input.request.target, "ip:"))

# METADATA
# title: Parse an address or network
# description: |
#   The network in its shortest form ("10.0.0.0/8"); an address is the network of its full
#   length. Undefined for anything else.
parse(text) := cidr if {
	not contains(text, "/")
	cidr := _canonical(concat("/", [text, _full_length(text)]))
}

parse(text) := cidr if {
	[address, length] := split(text, "/")
	regex.match(`^(0|[1-9][0-9]{0,2})$`, length)
	cidr := _canonical(text)

	# Without host bits, a network begins at the address that it names.
	host := _canonical(concat("/", [address, _full_length(address)]))
	split(cidr, "/")[0] == split(host, "/")[0]
}

_canonical(text) := cidr if {
	net.cidr_is_valid(text)
	some cidr in net.cidr_merge([text])
}

_full_length(address) := "128" if contains(address, ":")

_full_length(address) := "32" if not contains(address, ":")

# METADATA
# title: The target lies wholly inside a network of its own family
# description: Takes a network from `parse`.
inside(cidr) if net.cidr_contains(cidr, network)

# METADATA
# title: The target is a network that shares no address with another
# description: Takes a network from `parse`. Said positively, so that a failure denies.
disjoint_from(cidr) if {
	net.cidr_intersects(network, cidr) == false
	_holds_family_of(network, cidr) == false
	_holds_family_of(cidr, network) == false
}

# METADATA
# title: An IPv6 network that holds all of IPv4, beside an IPv4 network
# description: |
#   A network of 95 bits or fewer holds ::ffff:0:0/96 exactly when it holds its neighbour
#   ::fffe:0:0. The neighbour is asked, because the builtin takes the mapped one for IPv4.
default _holds_family_of(_, _) := false

_holds_family_of(six, four) if {
	contains(six, ":")
	not contains(four, ":")
	to_number(split(six, "/")[1]) <= 95
	net.cidr_contains(six, "::fffe:0:0")
}
