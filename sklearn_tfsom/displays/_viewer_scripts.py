"""JavaScript callbacks of the viewer.

Their arguments are Bokeh models: `units` and `samples` hold the columns of units and of all
samples, `table` those of the samples that are shown; `meta` is a dict of names.
"""

# A number of a map with a color scale: whole ones in full, others with the digits that tell values
# on the scale apart.
_ROUNDED = """
const rounded = (x, low, high) => {
    if (!Number.isFinite(x)) return "\\u2013";
    if (Number.isInteger(x)) return String(x);
    const ratio = Math.abs(x) / (high - low);
    const digits = 4 + (ratio > 1 ? Math.floor(Math.log10(ratio)) : 0);
    return String(Number(x.toPrecision(Math.min(digits, 15))));
};
"""

TOOLTIP = _ROUNDED + "return rounded(value, mapper.low, mapper.high);"

# Text about a unit: its number, place, hits, cluster, class shares and code vector.
_DESCRIBE = (
    _ROUNDED
    + """
const escape = (text) => String(text).replace(/[&<>"']/g, (c) => "&#" + c.charCodeAt(0) + ";");
// A share in percent with the digits that tell it from 0 and 100.
const percent = (count, total) => {
    const rest = 100 * Math.min(count, total - count) / total;
    const decimals = rest > 0 ? Math.max(0, Math.ceil(-Math.log10(rest))) : 0;
    return (100 * count / total).toFixed(decimals) + " %";
};
function describe(i) {
    const data = units.data;
    const row = (name, value) => `<tr><td>${escape(name)}</td><td>${escape(value)}</td></tr>`;
    const number = (field) => rounded(data[field][i], ...meta.limits[field]);
    let html = `<b>Unit ${i}</b> (row ${data.row[i]}, column ${data.column[i]})<table>`;
    html += row("hits", number("hits"));
    html += row(`distance to neighbors (${meta.distance_unit})`, number("u_matrix"));
    if (meta.has_clusters) html += row("cluster", data.cluster[i]);
    html += "</table>";
    if (meta.classes.length) {
        let total = 0;
        for (let k = 0; k < meta.classes.length; k++) total += data["count" + k][i];
        html += "<b>Classes</b><table>";
        for (let k = 0; k < meta.classes.length; k++) {
            const count = data["count" + k][i];
            if (count > 0) html += row(meta.classes[k], percent(count, total));
        }
        html += "</table>";
    }
    html += `<b>Code vector</b> (${escape(meta.value_unit)})<table>`;
    for (let k = 0; k < meta.planes.length; k++)
        html += row(meta.planes[k], number("plane" + k));
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
[mapper.low, mapper.high] = meta.limits["plane" + k];
title.text = new title.text.constructor({text: meta.planes[k]});  // a plain text again
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
const wanted = this.value.trim();
const lower = (value) => String(value).toLowerCase();
const labels = samples.data.sample ?? [];
let found = labels.findIndex((label) => String(label) == wanted);
if (found < 0) found = labels.findIndex((label) => lower(label) == lower(wanted));
if (found < 0)  // the beginning of a text or a date; that of a number is another number
    found = labels.findIndex((label) => isNaN(label) && lower(label).startsWith(lower(wanted)));
if (wanted == "" || found < 0) {
    count.text = wanted == "" ? status() : meta.not_found;
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
