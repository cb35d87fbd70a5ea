/// How the pages look. Colours are named once for light and once for dark; sizes follow the reader's own font size.
///
/// `StylesheetTests` computes the contrast of every pair of text and ground from these variables.
enum Stylesheet {
    static let text = [colours, ground, banner, parts, fleet, drawings, narrow].joined(separator: "\n")

    static let icon = """
        <svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32"><rect width="32" height="32" rx="7" fill="#23507a"/>\
        <path d="M7 24V9l9 9 9-9v15" fill="none" stroke="#fff" stroke-width="3.5" stroke-linecap="round" \
        stroke-linejoin="round"/></svg>
        """

    /// The states' grounds carry the sign of the state in `on-…`.
    private static let colours = """
        :root {
          color-scheme: light dark;
          --page: #f6f7f8; --sheet: #ffffff; --edge: #d9dde2; --soft: #eef0f3;
          --text: #1b1f24; --muted: #59626d; --link: #1d5a96; --focus: #1d5a96;
          --accent: #23507a; --on-accent: #ffffff;
          --proven: #2d7a4c; --on-proven: #ffffff;
          --unproven: #4a6fa0; --on-unproven: #ffffff;
          --stale: #eeb23f; --on-stale: #3a2a00;
          --failing: #bf3527; --on-failing: #ffffff;
          --never: #ffffff; --on-never: #59626d;
          --good-text: #1f6b3e; --good-soft: #e5f3ea; --calm-text: #325a8c; --calm-soft: #e6edf7;
          --warning-text: #7a5200; --warning-soft: #fcf0d4; --bad-text: #a32a1d; --bad-soft: #fbe7e4;
          --idle-text: #59626d; --idle-soft: #eef0f3;
          --line-1: #1d5a96; --line-2: #a35a00; --grid: #e6e9ed;
        }
        @media (prefers-color-scheme: dark) {
          :root {
            --page: #111418; --sheet: #191d23; --edge: #313842; --soft: #222830;
            --text: #e6e9ed; --muted: #a3adb8; --link: #82b7ec; --focus: #82b7ec;
            --accent: #a9cdf1; --on-accent: #10202f;
            --proven: #3f9a64; --on-proven: #04140a;
            --unproven: #6f97cf; --on-unproven: #081426;
            --stale: #e2a93a; --on-stale: #2a1d00;
            --failing: #e8695b; --on-failing: #2a0602;
            --never: #191d23; --on-never: #a3adb8;
            --good-text: #85d3a3; --good-soft: #16301f; --calm-text: #a5c5f0; --calm-soft: #1b2a40;
            --warning-text: #f0c670; --warning-soft: #37290c; --bad-text: #f5a79d; --bad-soft: #421b17;
            --idle-text: #a3adb8; --idle-soft: #222830;
            --line-1: #82b7ec; --line-2: #f0b45c; --grid: #2a3038;
          }
        }
        """

    private static let ground = """
        *, *::before, *::after { box-sizing: border-box; }
        html { font: 100%/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", "DejaVu Sans", sans-serif; }
        body { margin: 0; background: var(--page); color: var(--text); font-size: .9375rem; }
        main, .banner, footer { max-width: 82rem; margin-inline: auto; padding-inline: 1.25rem; }
        main { padding-block: 1.25rem 2rem; outline: none; }
        h1, h2, h3, p, ul, ol, dl, dd, figure, pre { margin: 0; padding: 0; }
        h1 { font-size: 1.5rem; line-height: 1.25; letter-spacing: -.01em; overflow-wrap: anywhere; }
        h2 { font-size: 1.0625rem; margin-bottom: .6rem; }
        h3 { font-size: .875rem; font-weight: 600; }
        ul, ol { list-style: none; }
        a { color: var(--link); text-underline-offset: .15em; text-decoration-thickness: .06em; }
        a:hover { text-decoration-thickness: .13em; }
        :focus-visible { outline: 3px solid var(--focus); outline-offset: 2px; border-radius: 3px; }
        code, pre { font-family: ui-monospace, "SF Mono", "Cascadia Mono", "DejaVu Sans Mono", monospace; font-size: .86em; }
        code { overflow-wrap: anywhere; }
        pre { background: var(--soft); border: 1px solid var(--edge); border-radius: 6px; padding: .7rem .9rem; overflow-x: auto; }
        main > * + * { margin-top: 1.1rem; }
        main > * + section { margin-top: 1.7rem; }
        .muted { color: var(--muted); }
        .lead { font-size: 1rem; }
        .skip:not(:focus), caption.aside { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); white-space: nowrap; }
        .skip:focus { position: absolute; z-index: 2; background: var(--sheet); padding: .5rem .8rem; }
        footer { color: var(--muted); font-size: .8125rem; padding-block: 1rem 2rem; }
        """

    private static let banner = """
        .banner { display: flex; flex-wrap: wrap; align-items: center; gap: .35rem 1.5rem; padding-block: .7rem; }
        .brand { display: flex; align-items: center; gap: .5rem; font-weight: 650; color: var(--text); text-decoration: none; }
        .mark { display: grid; place-items: center; width: 1.6rem; height: 1.6rem; border-radius: 6px; background: var(--accent); color: var(--on-accent); font-size: .9rem; }
        .banner nav { flex: 1; }
        .banner nav ul { display: flex; flex-wrap: wrap; gap: .15rem; }
        .banner nav a { display: block; white-space: nowrap; padding: .3rem .65rem; border-radius: 6px; color: var(--muted); text-decoration: none; }
        .banner nav a:hover { background: var(--soft); color: var(--text); }
        .banner nav a[aria-current] { background: var(--sheet); color: var(--text); font-weight: 600; box-shadow: inset 0 0 0 1px var(--edge); }
        .who { display: flex; align-items: center; gap: .6rem; color: var(--muted); font-size: .875rem; }
        .heading { display: flex; flex-wrap: wrap; align-items: center; gap: .3rem .8rem; }
        .trail { flex-basis: 100%; font-size: .875rem; }
        .trail ol { display: flex; flex-wrap: wrap; }
        .trail li::after { content: "/"; padding-inline: .45rem; color: var(--muted); }
        """

    private static let parts = """
        button, input, select { font: inherit; font-size: .875rem; color: inherit; min-height: 2.1rem; border: 1px solid var(--edge); border-radius: 6px; background: var(--sheet); padding: .25rem .7rem; }
        button { cursor: pointer; font-weight: 550; }
        button:hover { border-color: var(--muted); }
        button.first { background: var(--accent); border-color: var(--accent); color: var(--on-accent); }
        button.quiet { background: none; font-weight: 400; min-height: 1.8rem; }
        input[type=search] { width: 13rem; max-width: 100%; }
        .filter, .actions, .actions form { display: flex; flex-wrap: wrap; align-items: center; gap: .5rem .6rem; }
        .actions { gap: .6rem 1.6rem; }
        .filter { margin-bottom: .8rem; }
        .filter label, .actions label { color: var(--muted); font-size: .875rem; }
        .badge { display: inline-flex; align-items: center; gap: .35em; padding: .06rem .5rem; border-radius: 1rem; font-size: .8125rem; font-weight: 600; white-space: nowrap; background: var(--idle-soft); color: var(--idle-text); }
        .badge + .badge { margin-left: .3rem; }
        .badge > span:last-child { overflow: hidden; text-overflow: ellipsis; max-width: 22rem; }
        .badge.good { background: var(--good-soft); color: var(--good-text); }
        .badge.calm { background: var(--calm-soft); color: var(--calm-text); }
        .badge.warning { background: var(--warning-soft); color: var(--warning-text); }
        .badge.bad { background: var(--bad-soft); color: var(--bad-text); }
        .badges { display: inline-flex; flex-wrap: wrap; gap: .3rem; }
        .badges .badge + .badge { margin-left: 0; }
        .flag { white-space: nowrap; }
        .label { border: 1px solid var(--edge); border-radius: 4px; padding: 0 .35rem; font-size: .8125rem; }
        .scroll { overflow-x: auto; border: 1px solid var(--edge); border-radius: 8px; background: var(--sheet); }
        table { border-collapse: collapse; width: 100%; font-size: .875rem; }
        th, td { text-align: left; vertical-align: baseline; padding: .45rem .8rem; font-weight: 400; white-space: nowrap; }
        td:last-child, td .object { white-space: normal; overflow-wrap: anywhere; }
        thead th { color: var(--muted); font-size: .8125rem; font-weight: 600; background: var(--soft); border-bottom: 1px solid var(--edge); }
        tbody tr + tr > * { border-top: 1px solid var(--edge); }
        tbody th { font-weight: 550; }
        .number { text-align: right; font-variant-numeric: tabular-nums; }
        .facts { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 16.5rem), 1fr)); gap: .9rem 1.5rem; padding: 1rem 1.1rem; background: var(--sheet); border: 1px solid var(--edge); border-radius: 8px; }
        dt { color: var(--muted); font-size: .8125rem; }
        .notice { border: 1px solid var(--edge); border-left: .3rem solid var(--muted); border-radius: 6px; background: var(--sheet); padding: .7rem 1rem; }
        .notice.bad { border-left-color: var(--failing); }
        .notice.warning { border-left-color: var(--stale); }
        .notice.good { border-left-color: var(--proven); }
        .notice.calm { border-left-color: var(--unproven); }
        .empty { color: var(--muted); padding: 1rem 1.1rem; border: 1px dashed var(--edge); border-radius: 8px; }
        .pager { display: flex; align-items: center; gap: 1rem; margin-top: .8rem; font-size: .875rem; color: var(--muted); }
        .run { display: grid; gap: .5rem; }
        progress { width: 100%; min-width: 7rem; height: .6rem; appearance: none; border: 0; border-radius: 1rem; overflow: hidden; background: var(--soft); box-shadow: inset 0 0 0 1px var(--edge); }
        progress::-webkit-progress-bar { background: none; }
        progress::-webkit-progress-value { background: var(--unproven); }
        progress::-moz-progress-bar { background: var(--unproven); }
        progress.good::-webkit-progress-value { background: var(--proven); }
        progress.good::-moz-progress-bar { background: var(--proven); }
        progress.warning::-webkit-progress-value { background: var(--stale); }
        progress.warning::-moz-progress-bar { background: var(--stale); }
        progress.bad::-webkit-progress-value { background: var(--failing); }
        progress.bad::-moz-progress-bar { background: var(--failing); }
        .ids { display: flex; flex-wrap: wrap; gap: .3rem 1rem; }
        .alarms { background: var(--sheet); border: 1px solid var(--edge); border-radius: 8px; }
        .alarm { display: grid; grid-template-columns: 9rem 1fr auto; gap: .2rem 1rem; align-items: baseline; padding: .6rem 1rem; }
        .alarm + .alarm { border-top: 1px solid var(--edge); }
        .alarm .badge { justify-self: start; }
        .alarm p { overflow-wrap: anywhere; }
        .alarm .whose { font-size: .875rem; text-align: right; }
        .alarms + p { margin-top: .6rem; }
        """

    private static let fleet = """
        .cell { display: grid; place-items: center; width: 1.6rem; height: 1.6rem; border-radius: 4px; font-size: .8125rem; font-weight: 700; line-height: 1; text-decoration: none; }
        .cell.proven { background: var(--proven); color: var(--on-proven); }
        .cell.unproven { background: var(--unproven); color: var(--on-unproven); }
        .cell.stale { background: var(--stale); color: var(--on-stale); }
        .cell.failing { background: var(--failing); color: var(--on-failing); border-radius: 0; }
        .cell.never { background: var(--never); color: var(--on-never); box-shadow: inset 0 0 0 1.5px var(--on-never); }
        a.cell:hover { box-shadow: 0 0 0 2px var(--text); }
        .cells { display: flex; flex-wrap: wrap; gap: .25rem; }
        .cells .more { font-size: .8125rem; padding-inline: .3rem; line-height: 1.6rem; }
        .nodes { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 12.5rem), 1fr)); gap: .6rem; margin-top: .6rem; }
        .card { background: var(--sheet); border: 1px solid var(--edge); border-radius: 8px; padding: .6rem .75rem .7rem; }
        .card h3 { display: flex; justify-content: space-between; gap: .5rem; margin-bottom: .4rem; }
        .card h3 a { color: var(--text); text-decoration: none; overflow: hidden; text-overflow: ellipsis; white-space: nowrap; }
        .card h3 a:hover { text-decoration: underline; }
        .shares { display: block; width: 100%; height: .7rem; border-radius: 1rem; margin-bottom: .7rem; }
        .tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(12.5rem, 1fr)); gap: .6rem; }
        .tile { display: grid; grid-template-columns: auto auto 1fr; align-items: center; gap: .1rem .55rem; height: 100%; padding: .7rem .85rem; color: var(--text); text-decoration: none; background: var(--sheet); border: 1px solid var(--edge); border-radius: 8px; align-content: start; }
        .tile:hover { border-color: var(--muted); }
        .tile[aria-current] { border-color: var(--accent); box-shadow: inset 0 0 0 1px var(--accent); }
        .tile .figure { font-size: 1.35rem; font-weight: 650; line-height: 1.2; font-variant-numeric: tabular-nums; }
        .tile .what { font-weight: 600; }
        .tile .share { font-variant-numeric: tabular-nums; white-space: nowrap; }
        .tile .muted { grid-column: 2 / -1; font-size: .8125rem; }
        .meters { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 13rem), 1fr)); gap: .6rem; }
        .meter { display: grid; gap: .35rem; align-content: start; padding: .7rem .85rem; background: var(--sheet); border: 1px solid var(--edge); border-radius: 8px; }
        .meter p:first-child { display: flex; justify-content: space-between; gap: .6rem; font-weight: 600; font-variant-numeric: tabular-nums; }
        .meter .muted { font-size: .8125rem; }
        .strip { display: flex; flex-wrap: wrap; gap: .6rem; }
        .strip li { display: flex; flex-wrap: wrap; align-items: baseline; gap: .2rem .7rem; padding: .5rem .85rem; background: var(--sheet); border: 1px solid var(--edge); border-radius: 8px; }
        .strip a { font-weight: 600; }
        """

    private static let drawings = """
        .charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 30rem), 1fr)); gap: .8rem; }
        .chart-box { background: var(--sheet); border: 1px solid var(--edge); border-radius: 8px; padding: .8rem .9rem .5rem; }
        figcaption { display: flex; flex-wrap: wrap; gap: .2rem 1rem; font-size: .875rem; font-weight: 600; margin-bottom: .4rem; }
        .key { font-weight: 400; color: var(--muted); }
        .key::before { content: ""; display: inline-block; width: 1.4rem; margin-right: .4rem; vertical-align: .25em; border-top: 2px solid var(--line-1); }
        .key-2::before { border-top: 2px dashed var(--line-2); }
        .charts + .scroll { margin-top: .8rem; }
        .chart-box .empty { border: 0; padding: 1.5rem 0; }
        svg { display: block; width: 100%; height: auto; }
        svg text { fill: var(--muted); font-size: 11px; font-variant-numeric: tabular-nums; }
        .grid { stroke: var(--grid); }
        .axis { stroke: var(--muted); }
        .stroke { fill: none; stroke-width: 1.75; stroke-linejoin: round; }
        .series-1 .stroke { stroke: var(--line-1); }
        .series-2 .stroke { stroke: var(--line-2); stroke-dasharray: 5 3; }
        .series-1 circle, .series-1 rect { fill: var(--line-1); }
        .series-2 circle, .series-2 rect { fill: var(--line-2); }
        svg .proven { fill: var(--proven); }
        svg .unproven { fill: var(--unproven); }
        svg .stale { fill: var(--stale); }
        svg .failing { fill: var(--failing); }
        svg .never { fill: var(--on-never); }
        .map { background: var(--sheet); border: 1px solid var(--edge); border-radius: 8px; padding: .8rem; margin-top: .5rem; }
        .hit { fill: transparent; }
        .map a:hover .hit, .map a:focus-visible .hit { fill: var(--text); fill-opacity: .12; }
        """

    private static let narrow = """
        @media (max-width: 40rem) {
          main, .banner, footer { padding-inline: .9rem; }
          .banner nav { order: 3; flex-basis: 100%; overflow-x: auto; }
          .banner nav ul { flex-wrap: nowrap; }
          .who { margin-left: auto; }
          .alarm { grid-template-columns: 1fr; }
          .alarm .whose { text-align: left; }
          .cell { width: 1.75rem; height: 1.75rem; }
          svg text { font-size: 14px; }
        }
        @media (forced-colors: active) { .cell, .badge { border: 1px solid; } }
        @media print { .banner nav, .who, .filter, .actions, .skip { display: none; } }
        """
}
