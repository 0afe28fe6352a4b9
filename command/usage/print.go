package usage

import "strings"

// Text returns arguments in the notation of a manual, such as "key [NX|XX] id [id ...]".
func Text(args []Arg) string {
	var words []string
	for _, a := range args {
		words = append(words, a.text())
	}
	return strings.Join(words, " ")
}

// text returns the argument with its token, its repetition, and brackets when it is
// optional.
func (a *Arg) text() string {
	core := a.core()
	token := a.Token + " "
	if a.Type == PureToken || !a.HasToken {
		token = ""
	}
	switch {
	case a.MultipleToken:
		core = token + core + " [" + token + core + " ...]"
	case a.Multiple && a.Type == OneOf:
		core = token + core + " ..."
	case a.Multiple:
		core = token + core + " [" + core + " ...]"
	default:
		core = token + core
	}
	if a.Optional {
		return "[" + core + "]"
	}
	if a.Type == OneOf && token == "" && !a.Multiple && strings.Contains(core, " ") {
		return "<" + core + ">"
	}
	return core
}

// core returns the argument without token, repetition and brackets.
func (a *Arg) core() string {
	switch a.Type {
	case PureToken:
		if a.Token == "" {
			return `""`
		}
		return a.Token
	case Block:
		return Text(a.Args)
	case OneOf:
		return a.choices()
	}
	return a.Name
}

// choices joins the alternatives with "|", or with " | " when one has several words.
func (a *Arg) choices() string {
	var all []string
	bar := "|"
	for i := range a.Args {
		all = append(all, a.Args[i].text())
		if strings.Contains(all[i], " ") {
			bar = " | "
		}
	}
	return strings.Join(all, bar)
}
