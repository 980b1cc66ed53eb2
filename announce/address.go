package announce

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"syscall"
)

// refusedRanges are where no receiver can be that an operator did not name: the
// gate's own machine and network, and what the registries of special-purpose
// addresses say is not globally reachable, is one address in the clothes of
// another, or ends at more than one machine.
// https://www.iana.org/assignments/iana-ipv4-special-registry
// https://www.iana.org/assignments/iana-ipv6-special-registry
var refusedRanges = []struct {
	prefix netip.Prefix
	what   string
}{
	{netip.MustParsePrefix("0.0.0.0/8"), "this network"},
	{netip.MustParsePrefix("10.0.0.0/8"), "private"},
	{netip.MustParsePrefix("100.64.0.0/10"), "shared by a provider's customers"},
	{netip.MustParsePrefix("127.0.0.0/8"), "loopback"},
	{netip.MustParsePrefix("168.63.129.16/32"), "a cloud's own"}, // Azure's platform, on a public address
	{netip.MustParsePrefix("169.254.0.0/16"), "link-local"},      // with 169.254.169.254, a cloud's credentials
	{netip.MustParsePrefix("172.16.0.0/12"), "private"},
	{netip.MustParsePrefix("192.0.0.0/24"), "reserved"},
	{netip.MustParsePrefix("192.0.2.0/24"), "for documentation"},
	{netip.MustParsePrefix("192.88.99.0/24"), "reserved"},
	{netip.MustParsePrefix("192.168.0.0/16"), "private"},
	{netip.MustParsePrefix("198.18.0.0/15"), "for benchmarks"},
	{netip.MustParsePrefix("198.51.100.0/24"), "for documentation"},
	{netip.MustParsePrefix("203.0.113.0/24"), "for documentation"},
	{netip.MustParsePrefix("224.0.0.0/4"), "multicast"},
	{netip.MustParsePrefix("255.255.255.255/32"), "broadcast"},
	{netip.MustParsePrefix("240.0.0.0/4"), "reserved"},

	{netip.MustParsePrefix("::/128"), "unspecified"},
	{netip.MustParsePrefix("::1/128"), "loopback"},
	{netip.MustParsePrefix("64:ff9b::/96"), "an IPv4 address behind NAT64"},
	{netip.MustParsePrefix("64:ff9b:1::/48"), "an IPv4 address behind NAT64"},
	{netip.MustParsePrefix("2001::/32"), "an IPv4 address behind Teredo"},
	{netip.MustParsePrefix("2001::/23"), "reserved"}, // protocols and benchmarks
	{netip.MustParsePrefix("2001:db8::/32"), "for documentation"},
	{netip.MustParsePrefix("2002::/16"), "an IPv4 address behind 6to4"},
	{netip.MustParsePrefix("3fff::/20"), "for documentation"},
	{netip.MustParsePrefix("fc00::/7"), "private"},
	{netip.MustParsePrefix("fe80::/10"), "link-local"},
	{netip.MustParsePrefix("fec0::/10"), "site-local"},
	{netip.MustParsePrefix("ff00::/8"), "multicast"},
}

// globalIPv6 is all that was ever given out as global unicast. What is not in
// it is refused, known or not.
var globalIPv6 = netip.MustParsePrefix("2000::/3")

// refusedAddress is why an address is not connected to.
type refusedAddress struct {
	addr  netip.Addr
	what  string
	plain bool // it would do for https
}

func (e *refusedAddress) Error() string {
	if e.plain {
		return fmt.Sprintf("%s: plain http goes only to addresses that the operator of the gate has allowed", e.addr)
	}
	return fmt.Sprintf("%s is %s: the gate connects there only if its operator has allowed the address", e.addr, e.what)
}

// allowed reports whether the operator has named a network with a in it.
func allowed(a netip.Addr, allow []netip.Prefix) bool {
	a = a.WithZone("").Unmap()
	return slices.ContainsFunc(allow, func(p netip.Prefix) bool {
		if p.Addr().Is4In6() && p.Bits() >= 96 {
			p = netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
		}
		return p.Contains(a)
	})
}

// checkAddr says why a is not connected to, or nil.
func checkAddr(a netip.Addr, allow []netip.Prefix, secure bool) error {
	switch {
	case allowed(a, allow):
		return nil
	case a.Is4In6():
		return &refusedAddress{addr: a, what: "an IPv4 address written as IPv6"}
	case a.Zone() != "":
		return &refusedAddress{addr: a, what: "link-local"}
	}
	for _, r := range refusedRanges {
		if r.prefix.Contains(a) {
			return &refusedAddress{addr: a, what: r.what}
		}
	}
	if a.Is6() && !globalIPv6.Contains(a) {
		return &refusedAddress{addr: a, what: "reserved"}
	}
	if !secure {
		return &refusedAddress{addr: a, plain: true}
	}
	return nil
}

// guard judges each address at the moment of connecting, when the name has been
// resolved and cannot become another address any more.
type guard struct {
	allow  []netip.Prefix
	secure bool // for https
}

func (g guard) control(_ context.Context, network, address string, _ syscall.RawConn) error {
	if network != "tcp4" && network != "tcp6" {
		return fmt.Errorf("unexpected network %q", network)
	}
	to, err := netip.ParseAddrPort(address)
	if err != nil {
		return fmt.Errorf("unexpected address: %w", err)
	}
	return checkAddr(to.Addr(), g.allow, g.secure)
}
