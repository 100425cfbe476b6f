# SPDX-License-Identifier: Apache-2.0
#
# tests/plans.awk: what `soma plan --json` answers, one line a node:
#     12 matmul < 4.0 | tensor f32[120,400] dense1.weight | state f32[] 3 > f32[2,120] 960 bytes
# its op, what it reads (output 0 of node 4, ...), what it writes. Arrays of an optimizer are counted as they are met.
#   -v kernels=1      kernels, phases and layouts as well, and the piece in a first line
#   -v memory=1       only the bytes of all arrays that are planned
#   -v renames=FILE   lines "op|kernel|name OLD NEW": how things are called in the tree that is compared with

BEGIN {
    while (renames != "" && (getline line < renames) > 0)
        if (line !~ /^(#|$)/ && split(line, words, " ") == 3) new_name[words[1] " " words[2]] = words[3]
}

function called(kind, name) {
    return kind " " name in new_name ? new_name[kind " " name] : name
}

function value(text, key) { # of "key": "text" or "key": number
    if (!match(text, "\"" key "\": (\"[^\"]*\"|-?[0-9]+)")) return ""
    text = substr(text, RSTART + length(key) + 4, RLENGTH - length(key) - 4)
    gsub(/"/, "", text)
    return text
}

function type(text) {
    return value(text, "type") (kernels ? " " value(text, "layout") : "")
}

function read_array(text, source, name) {
    source = value(text, "source")
    name = value(text, "name")
    if (source == "node") return value(text, "node") "." value(text, "output")
    if (source == "none") return source
    if (name ~ /^optimizer\//) {
        if (!(name in states)) states[name] = ++n_states
        return "state " type(text) " " states[name]
    }
    return source " " type(text) (name == "" ? "" : " " called("name", name))
}

function written_array(text) {
    return value(text, "source") == "none" ? "none" : type(text) " " value(text, "bytes") " bytes"
}

function arrays(text, written, parts, n, i, out) {
    n = text == "" ? 0 : split(text, parts, /\}, \{/)
    for (i = 1; i <= n; i++) out = out (i > 1 ? " | " : "") (written ? written_array(parts[i]) : read_array(parts[i]))
    return out
}

function part(text, key) { # what stands in "key": [...]
    text = substr(text, index(text, "\"" key "\": [") + length(key) + 5)
    return substr(text, 1, text ~ /^\]/ ? 0 : match(text, /\}\]/))
}

memory {
    n = split("parameters state gradients activations inputs packed", keys, " ")
    for (i = 1; i <= n; i++) sum += value($0, keys[i])
    print sum
    exit
}
/"phase": / {
    op = called("op", value($0, "op"))
    if (kernels) op = value($0, "phase") " " op " [" called("kernel", value($0, "kernel")) "]"
    print n_nodes++ " " op " < " arrays(part($0, "inputs")) " > " arrays(part($0, "outputs"), 1)
}
kernels && /"micro_batch": / { print "pieces of " value($0, "micro_batch") }
