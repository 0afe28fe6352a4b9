package usage

import "strings"

// Text returns arguments as a manual prints them: "key [NX|XX] id [id ...]".
func Text(args []Arg) string {
	var words []string
	for _, a := range args {
		words = append(words, a.text())
	}
	return strings.Join(words, " ")
}

// text is an argument with its token, its repetition and the brackets of one that may be
// left out.
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

// core is an argument without its token.
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

// choices joins what one of is to be chosen, with blanks where one has several words.
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
