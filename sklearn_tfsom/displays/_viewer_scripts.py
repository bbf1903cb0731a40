"""JavaScript callbacks of the viewer.

Their arguments are Bokeh models: `units` and `samples` hold the columns of units and of all
samples, `table` those of the samples that are shown; `meta` is a dict of names.
"""

# Shared by the callbacks below.
_ESCAPE = """
const escape = (text) => String(text).replace(/[&<>"']/g, (c) => "&#" + c.charCodeAt(0) + ";");
const rounded = (x) => Number.isFinite(x) ? String(Number(x.toPrecision(4))) : "\\u2013";
"""

# Text about a unit: its number, place, hits, cluster, class shares and code vector.
_DESCRIBE = (
    _ESCAPE
    + """
function describe(i) {
    const data = units.data;
    const row = (name, value) => `<tr><td>${escape(name)}</td><td>${escape(value)}</td></tr>`;
    let html = `<b>Unit ${i}</b> (row ${data.row[i]}, column ${data.column[i]})<table>`;
    html += row("hits", rounded(data.hits[i]));
    html += row("distance to neighbors", rounded(data.u_matrix[i]));
    if (meta.has_clusters) html += row("cluster", data.cluster[i]);
    html += "</table>";
    if (meta.classes.length) {
        let total = 0;
        for (let k = 0; k < meta.classes.length; k++) total += data["count" + k][i];
        html += "<b>Classes</b><table>";
        for (let k = 0; k < meta.classes.length; k++) {
            const count = data["count" + k][i];
            if (count > 0)
                html += row(meta.classes[k], (100 * count / total).toFixed(0) + " %");
        }
        html += "</table>";
    }
    html += `<b>Code vector</b> (${escape(meta.unit)})<table>`;
    for (let k = 0; k < meta.planes.length; k++)
        html += row(meta.planes[k], rounded(data["plane" + k][i]));
    return html + "</table>";
}
"""
)

HOVER = (
    _DESCRIBE
    + """
const hovered = cb_data.index.indices;
pointed.data = {
    xs: hovered.map((i) => units.data.xs[i]),
    ys: hovered.map((i) => units.data.ys[i]),
};
if (hovered.length) details.text = describe(hovered[0]);
"""
)

SELECT_UNIT = (
    _DESCRIBE
    + """
if (units.selected.indices.length == 1) details.text = describe(units.selected.indices[0]);
"""
)

# Text that describes the selection.
_STATUS = """
const plural = (n, word) => `${n} ${word}${n == 1 ? "" : "s"}`;
const status = () => units.selected.indices.length
    ? `${plural(units.selected.indices.length, "unit")} selected, `
        + plural(table.data.sample.length, "sample")
    : meta.nothing_selected;
"""

SELECT = (
    _STATUS
    + """
const chosen = new Set(units.selected.indices);
const rows = [];
const bmus = samples.data.unit ?? [];
for (let i = 0; i < bmus.length; i++) if (chosen.has(bmus[i])) rows.push(i);
const shown = {};
for (const name of Object.keys(samples.data)) {
    const column = samples.data[name];
    shown[name] = rows.map((i) => column[i]);
}
table.selected.indices = [];
table.data = shown;
count.text = status();
button.disabled = rows.length == 0;
"""
)

PLANE = """
const k = Number(this.value);
units.data.plane = units.data["plane" + k];
mapper.low = meta.lows[k];
mapper.high = meta.highs[k];
title.text = meta.planes[k];
units.change.emit();
"""

UNIT = """
const unit = Math.round(this.value);
if (this.value !== null && unit >= 0 && unit < units.data.row.length)
    units.selected.indices = [unit];
"""

SEARCH = (
    _STATUS
    + """
const wanted = this.value.trim().toLowerCase();
const labels = samples.data.sample ?? [];
let found = labels.findIndex((label) => String(label).toLowerCase() == wanted);
if (found < 0) found = labels.findIndex((label) => String(label).toLowerCase().startsWith(wanted));
if (wanted == "" || found < 0) {
    count.text = wanted == "" ? status() : "No such sample.";
} else {
    units.selected.indices = [samples.data.unit[found]];
    setTimeout(() => {  // once the table has its rows
        table.selected.indices = [table.data.sample.indexOf(labels[found])];
        count.text = status();  // a unit that was selected before changes nothing
    }, 50);
}
"""
)

DOWNLOAD = """
const names = Object.keys(table.data);
const quoted = (value) => {
    const text = value === null || Number.isNaN(value) ? "" : String(value);
    return /[",\\n\\r]/.test(text) ? '"' + text.replaceAll('"', '""') + '"' : text;
};
const lines = [names.map((name) => quoted(meta.titles[name])).join(",")];
for (let i = 0; i < table.data[names[0]].length; i++)
    lines.push(names.map((name) => quoted(table.data[name][i])).join(","));
const link = document.createElement("a");
link.href = URL.createObjectURL(new Blob([lines.join("\\r\\n") + "\\r\\n"], {type: "text/csv"}));
link.download = "samples.csv";
link.click();
URL.revokeObjectURL(link.href);
"""
