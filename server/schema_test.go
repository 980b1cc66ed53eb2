package server

import (
	"fmt"
	"math"
	"regexp"
	"slices"
	"unicode/utf8"
)

// check says where v is not what a schema of openapi.yaml promises. It knows
// the words of JSON Schema that the document uses and reports any other. Unlike
// JSON Schema it also reports keys that are not documented.
func check(schema, v any, where string) (faults []string) {
	fault := func(format string, args ...any) {
		faults = append(faults, where+": "+fmt.Sprintf(format, args...))
	}
	s, ok := follow(schema).(object)
	if !ok {
		return []string{where + ": no schema"}
	}
	number, isNumber := v.(float64)
	text, isText := v.(string)
	list, isList := v.([]any)
	for word, arg := range s {
		n, _ := arg.(float64)
		switch word {
		case "description", "default", "properties":
		case "type":
			if !isType(arg, v) {
				fault("%v is not of type %v", v, arg)
			}
		case "const":
			if v != arg {
				fault("%v is not %v", v, arg)
			}
		case "enum":
			if !slices.Contains(arg.([]any), v) {
				fault("%v is none of %v", v, arg)
			}
		case "pattern":
			if isText && !regexp.MustCompile(arg.(string)).MatchString(text) {
				fault("%q does not match %s", text, arg)
			}
		case "minimum":
			if isNumber && number < n {
				fault("%v is below %v", number, n)
			}
		case "maximum":
			if isNumber && number > n {
				fault("%v is above %v", number, n)
			}
		case "minLength":
			if isText && utf8.RuneCountInString(text) < int(n) {
				fault("%q is too short", text)
			}
		case "maxLength":
			if isText && utf8.RuneCountInString(text) > int(n) {
				fault("%q is too long", text)
			}
		case "minItems":
			if isList && len(list) < int(n) {
				fault("too few items")
			}
		case "maxItems":
			if isList && len(list) > int(n) {
				fault("too many items")
			}
		case "items":
			for i, e := range list {
				faults = append(faults, check(arg, e, fmt.Sprintf("%s[%d]", where, i))...)
			}
		case "required":
			if o, ok := v.(object); ok {
				for _, key := range arg.([]any) {
					if _, has := o[key.(string)]; !has {
						fault("%s is missing", key)
					}
				}
			}
		case "additionalProperties", "oneOf":
			// Below.
		default:
			fault("the schema's word %s is unknown here", word)
		}
	}
	if o, ok := v.(object); ok && s["type"] == "object" {
		properties, _ := s["properties"].(object)
		for key, e := range o {
			switch more := s["additionalProperties"].(type) {
			case object:
				faults = append(faults, check(more, e, where+"."+key)...)
			default:
				if p, documented := properties[key]; documented {
					faults = append(faults, check(p, e, where+"."+key)...)
				} else if more != true {
					fault("the key %s is not documented", key)
				}
			}
		}
	}
	if choices, ok := s["oneOf"].([]any); ok {
		met, why := 0, []string(nil)
		for _, c := range choices {
			if f := check(c, v, where); len(f) == 0 {
				met++
			} else {
				why = append(why, f...)
			}
		}
		if met != 1 {
			fault("%d of the choices fit: %v", met, why)
		}
	}
	return faults
}

func isType(want, v any) bool {
	if list, ok := want.([]any); ok {
		return slices.ContainsFunc(list, func(w any) bool { return isType(w, v) })
	}
	switch v := v.(type) {
	case nil:
		return want == "null"
	case bool:
		return want == "boolean"
	case string:
		return want == "string"
	case float64:
		return want == "number" || (want == "integer" && v == math.Trunc(v))
	case []any:
		return want == "array"
	}
	return want == "object"
}
