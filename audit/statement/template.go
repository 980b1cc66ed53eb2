package statement

import "html/template"

var rowTemplate = template.Must(template.New("row").Parse(`<tr class="{{.Decision}}"><td>{{.At}}<br><span class="soft">row {{.Seq}}</span></td><td>{{.Action}}<br><span class="soft">{{.Radius}}</span></td><td>{{.Target}}</td><td>{{.Decision}}<br><span class="soft">{{.Rule}}</span></td><td>{{.Actor}}<br><span class="soft">{{.Principal}}</span></td><td>{{.Rationale}}<br><code>{{.ID}}</code></td></tr>
`))

var pageTemplate = template.Must(template.New("page").Parse(`{{define "head"}}<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>What {{.M.Tenant}}'s agent could do, and did</title>
<style>
:root { --ink:#1c2430; --soft:#5b6675; --line:#d9dee5; --paper:#fff; --tint:#f5f7f9; --auto:#1a7f4b; --queued:#c98a1b; --blocked:#b3261e }
body { font:16px/1.5 system-ui, sans-serif; color:var(--ink); background:var(--paper); max-width:68rem; margin:2rem auto; padding:0 1rem }
h1 { font-size:1.6rem; margin:0 } h2 { font-size:1.25rem; margin:2.2rem 0 .4rem; border-top:1px solid var(--line); padding-top:1.2rem }
.soft { color:var(--soft) } .scroll { overflow-x:auto } code { font-size:.8em; word-break:break-all }
table { border-collapse:collapse; font-size:.85rem; width:100%; margin:.4rem 0 } td, th { border:1px solid var(--line); padding:.25rem .5rem; text-align:left; vertical-align:top; overflow-wrap:anywhere } th { background:var(--tint) }
tr.auto td:nth-child(4), td.auto { color:var(--auto) } tr.queued_approval td:nth-child(4), td.queued_approval { color:var(--queued) } tr.blocked td:nth-child(4), td.blocked { color:var(--blocked) }
svg { width:100%; height:auto; background:var(--tint) } svg .t { font:11px system-ui, sans-serif; fill:var(--soft) } svg .grid { stroke:var(--line) } svg .dial { stroke:var(--ink); stroke-width:2; fill:none }
svg .stop { fill:var(--blocked); opacity:.15 } svg .auto { fill:var(--auto) } svg .queued { fill:var(--queued) } svg .blocked { fill:var(--blocked) } .key span { margin-right:1.2rem }
pre { background:var(--tint); padding:.6rem .8rem; white-space:pre-wrap; overflow-wrap:anywhere }
@media print { body { max-width:none; margin:0; font-size:11px } tr, svg, pre { break-inside:avoid } thead { display:table-header-group } }
</style>
</head>
<body>
<h1>What {{.M.Tenant}}’s agent could do by itself, and what it did</h1>
<p>Decisions from {{.From}} to {{.To}}. <span class="soft">All times are UTC. Made from the evidence file by {{.M.Generator}}.</span></p>
{{if .Lost}}<p class="blocked"><strong>From some moment on this page cannot say what the agent could do: {{.Lost}}.</strong></p>{{end}}
{{if .Unread}}<p class="blocked"><strong>{{.Unread}} rows cannot be read and are left out.</strong></p>{{end}}
<p><strong>{{.Total}} decisions</strong>, {{.High}} of them about actions with a HIGH or CRITICAL blast radius, and {{len .Moments}} changes of what the agent could do.</p>

<h2>The dial, and the decisions under it</h2>
{{if .Picture}}{{.Picture}}
<p class="key soft"><span style="color:var(--auto)">■ auto</span><span style="color:var(--queued)">■ queued for approval</span><span style="color:var(--blocked)">■ blocked; shaded: the tenant was stopped</span></p>
{{else}}<p class="soft">There are no decisions in the window.</p>{{end}}

<h2>What the agent could have done by itself</h2>
<p>At the beginning the tenant was at tier <strong>{{.Standing.Tier}}</strong>{{if .Standing.Stopped}} and <strong>stopped</strong>{{end}} (epoch {{.Standing.Epoch}}). For a target that no constraint names:</p>
{{if .Matrix}}<div class="scroll"><table><thead><tr><th>Action</th><th>Blast radius</th><th>Decision</th><th>Rule</th><th>What would make it automatic</th></tr></thead><tbody>
{{range .Matrix}}<tr><td>{{.ActionType}}</td><td>{{.BlastRadius}}</td><td class="{{.Decision}}">{{.Decision}}{{if .Constrained}} <span class="soft">(other for some targets)</span>{{end}}</td><td>{{.Rule}}</td><td>{{.AutoWhen}}</td></tr>
{{end}}</tbody></table></div>{{else}}<p class="soft">The bundle that was active is not in the file, so it cannot be told.</p>{{end}}
{{with .Standing.Overrides}}<p>Overrides that stood:</p><ul>{{range .}}<li>{{.}}</li>{{end}}</ul>{{end}}
{{with .Standing.Entries}}<p>Whitelist entries that stood:</p><ul>{{range .}}<li>{{.}}</li>{{end}}</ul>{{end}}
{{if .Standing.More}}<p class="soft">And {{.Standing.More}} more entries; all are in leaves.jsonl.</p>{{end}}
{{if .Moments}}<p>Then it changed:</p>
<div class="scroll"><table><thead><tr><th>When</th><th>What</th><th>Who, and why</th><th>What came out differently from then on</th></tr></thead><tbody>
{{range .Moments}}<tr><td>{{.Time}}<br><span class="soft">epoch {{.Epoch}}</span></td><td>{{.What}}</td><td>{{.Who}}<br><span class="soft">{{.Why}}</span></td><td>{{if .Unknown}}<span class="soft">cannot be told</span>{{end}}{{range .Changed}}{{.Action}}: {{if .From}}{{.From}} → {{end}}{{.To}} <span class="soft">({{.Rule}})</span><br>{{end}}</td></tr>
{{end}}</tbody></table></div>{{else}}<p>Nothing changed in the window.</p>{{end}}

<h2>What it did</h2>
<div class="scroll"><table><thead><tr><th>Decision</th><th>Blast radius</th><th>Rule</th><th>Count</th></tr></thead><tbody>
{{range .Counts}}<tr><td class="{{.Decision}}">{{.Decision}}</td><td>{{.Radius}}</td><td>{{.Rule}}</td><td>{{.N}}</td></tr>
{{end}}</tbody></table></div>

<h2>Every action with a HIGH or CRITICAL blast radius</h2>
<div class="scroll"><table><thead><tr><th>When</th><th>Action</th><th>Target</th><th>Decision</th><th>Actor, credential</th><th>Rationale, decision id</th></tr></thead><tbody>
{{end}}{{define "foot"}}</tbody></table></div>
{{if not .High}}<p class="soft">There was none.</p>{{end}}

<h2>How to check this</h2>
<p>This page is made from the other members of the file that it came in, and says nothing that they do not. Whoever checks the file makes it again and compares:</p>
<pre>tiergate verify evidence.zip --checkpoint CHECKPOINT --key KEYS</pre>
<p>That derives every row’s hash and the root of the tenant’s tree, rebuilds the configuration at each moment from the changes alone, and decides every row again with the policy of its moment. The tree has {{.M.TreeSize}} leaves, and its root is <code>{{.M.TreeRoot}}</code>. A checkpoint that was kept outside of the database’s reach shows that nothing was rewritten since. The format is described in docs/evidence.md of the program’s source, enough to write another verifier.</p>
</body>
</html>
{{end}}`))
