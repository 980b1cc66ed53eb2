# METADATA
# title: Expiry
# description: |
#   Whether the expiry of an override or whitelist entry is ahead of `input.now` or has passed.
#   What is stored is judged, not trusted: an expiry that is no time is never shown to be ahead,
#   and never shown to have passed.
package gate.expiry

# METADATA
# title: The expiry is ahead
# description: True when the entry has an expiry and now is before it.
ahead(entry) if _instant(input.now) < _instant(entry.expires_at)

# METADATA
# title: No expiry, or one that is ahead
ahead_or_none(entry) if object.get(entry, "expires_at", null) == null

ahead_or_none(entry) if ahead(entry)

# METADATA
# title: The expiry has passed
# description: True when the entry has an expiry and now is at or behind it.
passed(entry) if _instant(input.now) >= _instant(entry.expires_at)

# A text that orders as the time does. Times as text do not: ".001Z" sorts before "Z". Without
# trailing zeros, "." and "Z" they do, because what is cut off is the same as nothing: the fields
# before it have a fixed width. Text also reaches beyond the year 2262, where nanoseconds end.
_instant(time) := trim_right(time, "Z.0") if {
	is_string(time)
	regex.match(_rfc3339, time)
}

# RFC 3339 with Z, of a day that exists in the Gregorian calendar, with up to 9 decimals.
_rfc3339 := concat("", [
	`^(`,
	`[0-9]{4}-((0[13578]|1[02])-(0[1-9]|[12][0-9]|3[01])|(0[469]|11)-(0[1-9]|[12][0-9]|30)|02-(0[1-9]|1[0-9]|2[0-8]))`,
	`|([0-9]{2}(0[48]|[2468][048]|[13579][26])|([02468][048]|[13579][26])00)-02-29`,
	`)T([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](\.[0-9]{1,9})?Z$`,
])
