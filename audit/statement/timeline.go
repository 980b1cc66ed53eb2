package statement

import (
	"fmt"
	"html/template"
	"strings"
	"time"

	"github.com/tiergate/tiergate/engine"
)

// timeline counts decisions over time in a bounded number of slots, whose width
// doubles when there are too many, and keeps how the dial stood.
type timeline struct {
	start time.Time
	width time.Duration
	slots []slot
	dials []dialAt
}

type slot struct{ auto, queued, blocked int64 }

type dialAt struct {
	at      time.Time
	tier    int
	stopped bool
}

const maxSlots = 240

func (l *timeline) add(at time.Time, decision string) {
	if l.width == 0 {
		l.start, l.width = at.Truncate(time.Second), time.Second
	}
	if at.Before(l.start) {
		at = l.start // clocks of two gates that are not quite the same
	}
	n := int(at.Sub(l.start) / l.width)
	for n >= maxSlots {
		for i := range (len(l.slots) + 1) / 2 {
			a := l.slots[2*i]
			if 2*i+1 < len(l.slots) {
				b := l.slots[2*i+1]
				a = slot{a.auto + b.auto, a.queued + b.queued, a.blocked + b.blocked}
			}
			l.slots[i] = a
		}
		l.slots = l.slots[:(len(l.slots)+1)/2]
		l.width *= 2
		n = int(at.Sub(l.start) / l.width)
	}
	for len(l.slots) <= n {
		l.slots = append(l.slots, slot{})
	}
	switch s := &l.slots[n]; decision {
	case "auto":
		s.auto++
	case "blocked":
		s.blocked++
	default:
		s.queued++
	}
}

func (l *timeline) dial(at time.Time, tier int, stopped bool) {
	if n := len(l.dials); n > 0 && l.dials[n-1].tier == tier && l.dials[n-1].stopped == stopped {
		return
	}
	l.dials = append(l.dials, dialAt{at, tier, stopped})
}

// picture draws the dial as a line of steps, with the decisions as bars below.
// Everything in it is a number of ours, or a tier's label.
func (l *timeline) picture(_ []moment, _ standing) template.HTML {
	if len(l.slots) == 0 {
		return ""
	}
	const left, right, step, base, height = 110, 950, 24, 20, 110
	end := l.start.Add(l.width * time.Duration(len(l.slots)))
	x := func(at time.Time) float64 {
		part := float64(at.Sub(l.start)) / float64(end.Sub(l.start))
		return left + max(0, min(1, part))*(right-left)
	}
	y := func(tier int) int { return base + (engine.MaxTier-tier)*step }
	var b strings.Builder
	fmt.Fprintf(&b, `<svg viewBox="0 0 960 300" role="img" aria-label="The tier over time, and the decisions under it">`)
	for tier := range engine.MaxTier + 1 {
		fmt.Fprintf(&b, `<text x="4" y="%d" class="t">%s</text><line x1="%d" x2="%d" y1="%d" y2="%d" class="grid"/>`, y(tier)+4, engine.TierLabel(tier), left, right, y(tier), y(tier))
	}
	for i, d := range l.dials {
		until := end
		if i+1 < len(l.dials) {
			until = l.dials[i+1].at
		}
		if d.stopped {
			fmt.Fprintf(&b, `<rect x="%.1f" y="%d" width="%.1f" height="%d" class="stop"/>`, x(d.at), base-8, max(1, x(until)-x(d.at)), engine.MaxTier*step+16)
		}
		fmt.Fprintf(&b, `<path d="M%.1f %dH%.1f" class="dial"/>`, x(d.at), y(d.tier), x(until))
		if i+1 < len(l.dials) {
			fmt.Fprintf(&b, `<path d="M%.1f %dV%d" class="dial"/>`, x(until), y(d.tier), y(l.dials[i+1].tier))
		}
	}
	most := int64(1)
	for _, s := range l.slots {
		most = max(most, s.auto+s.queued+s.blocked)
	}
	floor := y(0) + 40 + height
	wide := float64(right-left) / float64(len(l.slots))
	for i, s := range l.slots {
		at := float64(floor)
		for _, part := range []struct {
			n     int64
			class string
		}{{s.auto, "auto"}, {s.queued, "queued"}, {s.blocked, "blocked"}} {
			if part.n == 0 {
				continue
			}
			h := float64(height) * float64(part.n) / float64(most)
			at -= h
			fmt.Fprintf(&b, `<rect x="%.1f" y="%.1f" width="%.1f" height="%.1f" class="%s"/>`, left+float64(i)*wide, at, max(0.6, wide*0.9), h, part.class)
		}
	}
	fmt.Fprintf(&b, `<text x="4" y="%d" class="t">up to %d</text><text x="4" y="%d" class="t">in %s</text>`, floor-height+12, most, floor-height+28, l.width)
	fmt.Fprintf(&b, `<text x="%d" y="%d" class="t">%s</text><text x="%d" y="%d" class="t" text-anchor="end">%s</text>`, left, floor+16, engine.FormatTime(l.start), right, floor+16, engine.FormatTime(end))
	b.WriteString(`</svg>`)
	return template.HTML(b.String())
}
