# SPDX-License-Identifier: Apache-2.0
#
# Takes code out of documentation: awk -v name=README.md -v folder=DIR -f blocks.awk README.md Prints a line for each
# piece: place, kind, text, with tabs between. A line of a shell block is a piece of its own (kind sh), with its
# continuations; every other block is written to a file in `folder`, and the text is the file and the block's first
# line. Blocks are fenced or, after an empty line, indented by four spaces. In a manual page they stand between .nf and
# .fi.

function shell(first) {
    return first ~ /^(soma|cmake|ctest|cc|ldconfig|export|apt-get|\.\/.*|build\/.*|bench\/.*|tests\/.*|for)$/
}

function finish(   i, piece, at, path) {
    if (!lines)
        return
    split(block[1], words, " ")
    if (kind == "")
        kind = shell(words[1]) ? "sh" : words[1] ~ /^soma_/ ? "expression" : "text"
    if (kind == "sh") {
        for (i = 1; i <= lines; i++) {
            piece = block[i]
            at = begin + i - 1
            while (piece ~ /\\$/ && i < lines) {
                sub(/ *\\$/, " ", piece)
                i++
                sub(/^ +/, "", block[i])
                piece = piece block[i]
            }
            if (piece !~ /^ *(#|$)/)
                print name ":" at "\tsh\t" piece
        }
    } else {
        path = folder "/block-" ++blocks
        for (i = 1; i <= lines; i++)
            print block[i] > path
        close(path)
        print name ":" begin "\t" kind "\t" path " " block[1]
    }
    lines = 0
}

name ~ /\.1$/ && /^\.fi/ { manual = 0; finish(); next }
name ~ /\.1$/ && /^\.nf/ { manual = 1; begin = NR + 1; kind = "sh"; next }
name ~ /\.1$/ {
    if (manual) {
        gsub(/\\-/, "-")
        block[++lines] = $0
    }
    next
}
/^```/ {
    finish()
    fenced = !fenced
    kind = fenced ? substr($0, 4) : ""
    begin = NR + 1
    next
}
fenced { block[++lines] = $0; next }
/^    / && (lines || before == "") {
    if (!lines) {
        begin = NR
        kind = ""
    }
    block[++lines] = substr($0, 5)
    next
}
{ finish(); before = $0 }
END { finish() }
