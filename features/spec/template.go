package main

import "html/template"

// page is self-contained: it loads nothing and runs nothing.
var page = template.Must(template.New("spec").Parse(`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>tiergate: what it promises, and what came of trying it</title>
<style>
:root { --ink:#1c2430; --soft:#5b6675; --line:#d9dee5; --paper:#fff; --good:#1a7f4b; --bad:#b3261e; --tint:#f5f7f9 }
@media (prefers-color-scheme: dark) { :root { --ink:#e6eaf0; --soft:#9aa6b5; --line:#323b47; --paper:#14181e; --good:#5fd193; --bad:#ff8a80; --tint:#1b2129 } }
body { font:16px/1.5 system-ui, sans-serif; color:var(--ink); background:var(--paper); max-width:60rem; margin:2rem auto; padding:0 1rem }
h1 { font-size:1.6rem; margin:0 } h2 { font-size:1.3rem; margin:2.5rem 0 .3rem; border-top:1px solid var(--line); padding-top:1.5rem }
h3 { font-size:1.05rem; margin:1.6rem 0 .4rem; color:var(--soft) }
.soft { color:var(--soft) } .passed { color:var(--good) } .failed, .not { color:var(--bad) }
nav ul { list-style:none; padding:0; columns:2 } nav li { break-inside:avoid; margin:.2rem 0 }
details { border:1px solid var(--line); border-radius:6px; margin:.4rem 0; padding:.4rem .8rem } summary { cursor:pointer; font-weight:600 }
ol { list-style:none; padding:0; margin:.5rem 0 } ol li { margin:.15rem 0 } .kw { display:inline-block; min-width:4rem; color:var(--soft) }
.scroll { overflow-x:auto } table { border-collapse:collapse; font-size:.85rem; margin:.4rem 0 .6rem 4rem; background:var(--tint) } td, th { border:1px solid var(--line); padding:.2rem .5rem; text-align:left; vertical-align:top } code { font-size:.85em; word-break:break-all }
pre { white-space:pre-wrap; color:var(--bad); margin:.2rem 0 .2rem 4rem }
@media print { details { break-inside:avoid } details > * { display:block } body { max-width:none } }
@media (max-width:40rem) { nav ul { columns:1 } table { margin-left:0 } }
</style>
</head>
<body>
<h1>What tiergate promises, and what came of trying it</h1>
<p class="soft">Run against the built program on a real PostgreSQL, {{.Made}}. Policy: {{range .Bundles}}<code>{{.}}</code> {{end}}</p>
<p><strong class="{{if eq .Passed .Scenarios}}passed{{else}}failed{{end}}">{{.Passed}} of {{.Scenarios}} scenarios passed.</strong>
They left {{.Logged}} decisions in the gate log; each is shown below the step that it came from.</p>
<nav><ul>
{{range .Features}}<li><a href="#{{.ID}}">{{.Name}}</a> <span class="{{if eq .Passed .Scenarios}}passed{{else}}failed{{end}}">{{.Passed}}/{{.Scenarios}}</span></li>
{{end}}</ul></nav>
{{range .Features}}
<h2 id="{{.ID}}">{{.Name}}</h2>
<p>{{.Description}}</p>
{{range .Rules}}{{if .Name}}<h3>{{.Name}}</h3>{{end}}
{{range .Scenarios}}<details id="{{.ID}}"{{if ne .Status "passed"}} open{{end}}><summary><span class="{{.Status}}">{{if eq .Status "passed"}}✓{{else}}✗ {{.Status}}:{{end}}</span> {{.Name}}</summary>
<ol>{{range .Steps}}
<li><span class="kw">{{.Keyword}}</span>{{.Text}}{{if ne .Status "passed"}} <span class="failed">({{.Status}})</span>{{end}}{{if .Error}}<pre>{{.Error}}</pre>{{end}}
{{if .Decisions}}<div class="scroll"><table><tr><th>tenant, row</th><th>action</th><th>decision</th><th>rule</th><th>rationale</th><th>decision id</th></tr>
{{range .Decisions}}<tr><td>{{.TenantID}}, {{.LogSeq}}</td><td>{{.ActionType}} on {{.Target}}</td><td>{{.Decision}}</td><td>{{.Rule}}</td><td>{{.Rationale}}</td><td><code>{{.DecisionID}}</code></td></tr>
{{end}}</table></div>{{end}}</li>{{end}}
</ol></details>
{{end}}{{end}}{{end}}
</body>
</html>
`))
