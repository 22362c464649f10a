/**
 * The page's style: one column, both colour schemes, print, and narrow screens on which wide things scroll by
 * themselves.
 */
import { darkFigureStyle } from './theme.ts';

export const PAGE_STYLE = `
:root{--ink:#1f2328;--soft:#57606a;--line:#d8dee4;--paper:#fff;--band:#f6f8fa;--link:#0b62a8;
--bad:#a33b00;--good:#04664b;
color-scheme:light dark}
@media screen and (prefers-color-scheme:dark){:root{--ink:#e6edf3;--soft:#a3adb8;--line:#343b44;--paper:#0f1419;
--band:#171d24;--link:#6cb6ff;--bad:#f2833f;--good:#2cc598}}
*{box-sizing:border-box}
html{-webkit-text-size-adjust:100%}
body{margin:0;background:var(--paper);color:var(--ink);font:16px/1.55 "Helvetica Neue",Helvetica,Arial,
"Liberation Sans","DejaVu Sans",sans-serif}
main{max-width:72rem;margin:0 auto;padding:2rem 1.25rem 4rem}
h1{font-size:1.9rem;line-height:1.2;margin:0 0 .25rem;overflow-wrap:anywhere}
h2{font-size:1.3rem;margin:3rem 0 .75rem;padding-top:.5rem;border-top:1px solid var(--line)}
h3{font-size:1rem;margin:0 0 .4rem;overflow-wrap:anywhere}
p,ul{margin:.5rem 0}
a{color:var(--link)}
a:focus-visible,summary:focus-visible,.scroll:focus-visible{outline:2px solid var(--link);outline-offset:2px}
p,.summary,.notice{max-width:52rem}
.meta,figcaption,.hint{color:var(--soft);font-size:.875rem}
.notice{margin:1.25rem 0;padding:.6rem .9rem;border-left:4px solid var(--soft);background:var(--band)}
.notice.bad{border-color:var(--bad)}.notice.good{border-color:var(--good)}
.notice p{margin:.1rem 0}.notice li{overflow-wrap:anywhere}
.summary{padding-left:1.2rem}.summary li{margin:.5rem 0}
figure{margin:1.5rem 0 2.25rem}
figcaption{margin-top:.5rem;max-width:46rem}
.sheets{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,24rem),1fr));gap:0 1.5rem}
.sheets figure{margin:1rem 0;min-width:0}
.scroll{overflow-x:auto}
.chart svg{display:block;height:auto;max-width:100%}
@media (max-width:46rem){.wide svg{width:34rem;max-width:none}}
table{border-collapse:collapse;font-size:.875rem;font-variant-numeric:tabular-nums;width:100%}
th,td{padding:.4rem .45rem;text-align:right;vertical-align:top;border-bottom:1px solid var(--line);white-space:nowrap}
thead th{white-space:normal;vertical-align:bottom;
font-weight:600;color:var(--soft);border-bottom:1.5px solid var(--soft)}
th.name,tbody th{text-align:left;padding-left:0}
tbody th{font-weight:600;white-space:normal;min-width:7rem;max-width:18rem}
td small,th small{display:block;font-weight:400;white-space:nowrap;color:var(--soft);font-size:.78rem}
td.flag{color:var(--bad);font-weight:600}
td.text{white-space:normal;text-align:left;min-width:12rem}
details{margin:1rem 0}
summary{cursor:pointer;font-weight:600}
pre{background:var(--band);padding:.8rem 1rem;overflow-x:auto;font-size:.82rem;line-height:1.45;border-radius:4px}
code{font-family:ui-monospace,SFMono-Regular,Menlo,Consolas,"Liberation Mono","DejaVu Sans Mono",monospace}
dl{display:grid;grid-template-columns:max-content 1fr;gap:.2rem 1.2rem;font-size:.9rem}
dt{color:var(--soft)}dd{margin:0;overflow-wrap:anywhere}
@media print{body{font-size:10.5pt}main{max-width:none;padding:0}h2{break-after:avoid}
figure,tr,.notice{break-inside:avoid}
.scroll{overflow:visible}.download{display:none}a{color:inherit;text-decoration:none}.wide svg{max-width:100%}
table{font-size:7.5pt}th,td{white-space:normal;padding:.2rem .3rem}td small,th small{white-space:normal;font-size:6.5pt}
tbody th{min-width:0}}
${darkFigureStyle('.chart')}
`;
