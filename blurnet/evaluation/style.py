"""The style sheet of report.html: light and dark, narrow and wide, printable. Colours stand in one place."""

CSS = """
:root {
  color-scheme: light dark;
  --page: #f6f5f1; --card: #ffffff; --ink: #1b2430; --soft: #566173; --line: #dfe1e6; --code: #f0f1f4;
  --stand: #20639b; --fall: #c93c53; --miss: #8c95a4; --warn: #9a5b00; --warn-page: #fff4df;
  --c0: #20639b; --c1: #c93c53; --c2: #6a4c93; --c3: #1f7a5c; --c4: #b0651d; --c5: #5f6b7a;
}
@media (prefers-color-scheme: dark) {
  :root {
    --page: #11151b; --card: #1a2029; --ink: #e7ebf1; --soft: #9da8b8; --line: #2d3644; --code: #232b37;
    --stand: #6cb2ee; --fall: #f0788b; --miss: #6d7888; --warn: #f2b755; --warn-page: #33280f;
    --c0: #6cb2ee; --c1: #f0788b; --c2: #b79ae6; --c3: #64c9a2; --c4: #e3a15f; --c5: #9da8b8;
  }
}
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; }
body {
  margin: 0; background: var(--page); color: var(--ink);
  font: 16px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", sans-serif;
}
main { max-width: 68rem; margin: 0 auto; padding: 2rem 1.25rem 4rem; }
header p { margin: 0; color: var(--soft); }
h1 { font-size: clamp(1.7rem, 5vw, 2.5rem); line-height: 1.15; letter-spacing: -.02em; margin: .15rem 0 .5rem;
  overflow-wrap: anywhere; }
h2 { font-size: 1.3rem; letter-spacing: -.01em; margin: 2.75rem 0 .75rem; }
h3 { font-size: 1.02rem; margin: 1.4rem 0 .5rem; }
.card > h3:first-child { margin-top: 0; }
p { max-width: 46rem; }
a { color: var(--stand); }
.eyebrow { text-transform: uppercase; letter-spacing: .09em; font-size: .75rem; font-weight: 600; }
.soft, figcaption, caption { color: var(--soft); }
.small, figcaption, caption { font-size: .85rem; }
.card { background: var(--card); border: 1px solid var(--line); border-radius: 14px; padding: 1.25rem 1.4rem;
  margin: 1rem 0; }
.headline { display: grid; gap: 1rem 2.5rem; grid-template-columns: minmax(0, 1fr); margin-top: 1.5rem; }
.figure { font-size: clamp(3.2rem, 12vw, 5rem); line-height: 1; font-weight: 700; letter-spacing: -.04em;
  font-variant-numeric: tabular-nums; }
.figure small { font-size: .45em; font-weight: 600; letter-spacing: 0; color: var(--soft); }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(9.5rem, 1fr)); gap: .75rem; margin: 0; }
.tiles div { border-left: 3px solid var(--line); padding-left: .75rem; }
.tiles dt { font-size: .82rem; color: var(--soft); }
.tiles dd { margin: 0; font-size: 1.3rem; font-weight: 650; font-variant-numeric: tabular-nums; }
.tiles dd span { display: block; font-size: .78rem; font-weight: 400; color: var(--soft); }
.stack { display: flex; height: 1.1rem; border-radius: .55rem; overflow: hidden; background: var(--line); gap: 2px; }
.stack i { display: block; min-width: 2px; }
.stand { background: var(--stand); } .fall { background: var(--fall); } .miss { background: var(--miss); }
.key { display: flex; flex-wrap: wrap; gap: .25rem 1.25rem; margin: .6rem 0 0; padding: 0; list-style: none;
  font-size: .88rem; }
.key i { display: inline-block; width: .75em; height: .75em; border-radius: .2em; margin-right: .45em; }
.bar { position: relative; height: .6rem; min-width: 7rem; background: var(--line); border-radius: .3rem; }
.bar i { position: absolute; inset: 0 auto 0 0; border-radius: .3rem; }
.bar b { position: absolute; top: 50%; height: 2px; margin-top: -1px; background: var(--ink); }
.bar b::before, .bar b::after { content: ""; position: absolute; top: -3px; height: 8px; width: 1.5px;
  background: var(--ink); }
.bar b::before { left: 0; } .bar b::after { right: 0; }
.scroll { overflow-x: auto; -webkit-overflow-scrolling: touch; }
table { border-collapse: collapse; width: 100%; font-size: .92rem; font-variant-numeric: tabular-nums; }
caption { text-align: left; padding-bottom: .4rem; }
th, td { text-align: left; padding: .5rem .8rem .5rem 0; border-bottom: 1px solid var(--line); vertical-align: middle; }
thead th { font-size: .8rem; font-weight: 600; color: var(--soft); vertical-align: bottom; }
tbody th { font-weight: 600; }
tbody td:not(.number) { min-width: 8.5rem; }
.number { text-align: right; white-space: nowrap; }
tbody tr:last-child > * { border-bottom: 0; }
.stages { display: grid; grid-template-columns: minmax(7rem, max-content) minmax(4rem, 1fr) max-content;
  gap: .3rem .9rem; align-items: center; margin: 0; font-size: .9rem; }
.stages dt { overflow-wrap: anywhere; } .stages dd { margin: 0; font-variant-numeric: tabular-nums; }
.charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 25rem), 1fr)); gap: 1rem; }
.charts .card { margin: 0; }
figure { margin: 0; } svg { display: block; width: 100%; height: auto; }
svg text { fill: var(--soft); font-size: 11px; font-family: inherit; }
.map svg { max-width: 20rem; border: 1px solid var(--line); border-radius: 8px; }
.gallery { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, var(--wide)), 1fr)); gap: .9rem; }
.gallery article { background: var(--card); border: 1px solid var(--line); border-radius: 14px; padding: .9rem; }
.gallery h3 { margin: 0 0 .6rem; font-size: .9rem; }
.strip { display: flex; gap: .7rem; overflow-x: auto; padding-bottom: .25rem; }
.strip figure { flex: 0 0 6.6rem; }
.strip img { width: 6.6rem; height: 6.6rem; object-fit: contain; image-rendering: pixelated; border-radius: 8px;
  border: 3px solid var(--line); background: var(--code); display: block; }
.strip .fell img { border-color: var(--fall); } .strip .stood img { border-color: var(--stand); }
.strip figcaption { line-height: 1.35; margin-top: .35rem; font-size: .78rem; overflow-wrap: anywhere; }
.strip figcaption b { color: var(--ink); display: block; }
.flag { background: var(--warn-page); border-color: var(--warn); border-left-width: 6px; }
.flag h3 { margin: 0 0 .35rem; color: var(--warn); }
.flag dl { margin: 0; } .flag dt { font-size: .8rem; color: var(--soft); } .flag dd { margin: 0 0 .5rem; }
pre { background: var(--code); border-radius: 10px; padding: .9rem 1rem; white-space: pre-wrap;
  overflow-wrap: anywhere; font-size: .85rem; margin: .5rem 0; }
code { font-family: ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; font-size: .92em;
  overflow-wrap: anywhere; }
details { margin: .7rem 0; } summary { cursor: pointer; color: var(--soft); font-size: .9rem; }
.plots { display: grid; gap: 1rem; }
.plots img { max-width: 100%; height: auto; border-radius: 10px; background: #fff; }
footer { margin-top: 3rem; border-top: 1px solid var(--line); padding-top: 1rem; color: var(--soft);
  font-size: .85rem; }
@media (min-width: 46rem) { .headline { grid-template-columns: max-content minmax(0, 1fr); align-items: center; } }
@media (max-width: 30rem) { main { padding: 1.25rem .9rem 3rem; } .card { padding: 1rem; } }
@media print { body { background: #fff; } .card, .gallery article { break-inside: avoid; } }
"""
