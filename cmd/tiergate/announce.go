package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/tiergate/tiergate/announce"
)

// announceFlags say where announcements may go, and where their links lead.
type announceFlags struct {
	publicURL, allow string
}

func (f *announceFlags) register(c *cobra.Command) {
	c.Flags().StringVar(&f.publicURL, "public-url", os.Getenv("TIERGATE_PUBLIC_URL"),
		"how people reach this gate, for links in announcements, such as https://gate.example (TIERGATE_PUBLIC_URL)")
	c.Flags().StringVar(&f.allow, "announce-allow", os.Getenv("TIERGATE_ANNOUNCE_ALLOW"),
		"networks, separated by commas, that announcements may go to although they are private or loopback, such as 10.20.0.0/16 (TIERGATE_ANNOUNCE_ALLOW)")
}

// networks reads --announce-allow. With --dev, which is for this machine only,
// loopback is allowed.
func (f announceFlags) networks(dev bool) ([]netip.Prefix, error) {
	var list []netip.Prefix
	if dev {
		list = append(list, netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128"))
	}
	for _, s := range strings.Split(f.allow, ",") {
		if s = strings.TrimSpace(s); s == "" {
			continue
		}
		p, err := netip.ParsePrefix(s)
		if a, addrErr := netip.ParseAddr(s); err != nil && addrErr == nil {
			p, err = a.Prefix(a.BitLen())
		}
		switch {
		case err != nil:
			return nil, usageError{fmt.Errorf("--announce-allow %s: want networks such as 10.20.0.0/16", s)}
		case p != p.Masked():
			return nil, usageError{fmt.Errorf("--announce-allow %s: has bits behind the prefix length; %s is the network", s, p.Masked())}
		}
		list = append(list, p)
	}
	return list, nil
}

// public reads --public-url. With --dev it is the address that is listened on.
func (f announceFlags) public(dev bool, addr string) (string, error) {
	if f.publicURL == "" {
		if dev {
			return "http://" + addr, nil
		}
		return "", nil
	}
	u, err := url.Parse(f.publicURL)
	if err != nil || u.Host == "" || (u.Scheme != "https" && u.Scheme != "http") || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return "", usageError{errors.New("--public-url: want https://HOST, as people reach this gate")}
	}
	return strings.TrimSuffix(f.publicURL, "/"), nil
}

// announcing sends what the outbox holds until stop is called.
func announcing(o announce.Options) (d *announce.Dispatcher, stop func(), err error) {
	if d, err = announce.New(o); err != nil {
		return nil, nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		d.Run(ctx)
	}()
	return d, func() {
		cancel()
		<-done
	}, nil
}
