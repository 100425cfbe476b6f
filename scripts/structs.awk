# SPDX-License-Identifier: Apache-2.0
#
# The structs of public headers that begin with their size, as lists of members:
#   members=1   MEMBER(struct, member) for each member, OPTIONS(struct) for each option struct,
#               OF_A_KIND(struct) where the header was made of a list
#   cuts=1      a struct for each length that the struct may once have had, and CUT(struct, members, last member)
#   inner=1     structs that stand inside of those or in arrays, one a line, with 1 where they have reserved room
# Structs whose name the pattern `skip` matches are left out.
# usage: awk -v members=1 -f structs.awk HEADER...

function finish(    i, k) {
    if (n == 0)
        return
    sized = member[1] == "struct_size"
    if (inner && !sized)
        print name, (member[n] == "reserved")
    if (skip != "" && name ~ skip)
        return
    if (!sized || name !~ /_options$/)
        return
    for (i = 1; i <= n && members; i++)
        printf "MEMBER(%s, %s)\n", name, member[i]
    if (members)
        printf "%s(%s)\n", FILENAME ~ /made/ ? "OF_A_KIND" : "OPTIONS", name
    for (i = 1; i <= n && cuts; i++) {
        printf "struct %s_cut%d {", name, i
        for (k = 1; k <= i; k++)
            printf " %s;", declared[k]
        printf " };\nCUT(%s, %d, %s)\n", name, i, member[i]
    }
}

# One declaration, of one member or several: "const char *from, *to".
function declare(text,    parts, count, i, base, part) {
    gsub(/[ \t]+/, " ", text)
    sub(/^ /, "", text)
    if (text ~ /\(\*/) {
        member[++n] = text
        declared[n] = text
        sub(/^[^(]*\(\*/, "", member[n])
        sub(/\).*/, "", member[n])
        return
    }
    count = split(text, parts, / *, */)
    for (i = 1; i <= count; i++) {
        part = parts[i]
        if (i == 1) {
            match(part, /\**[A-Za-z_0-9]+(\[[^]]*\])*$/)
            base = substr(part, 1, RSTART - 1)
            part = substr(part, RSTART)
        }
        declared[++n] = base part
        sub(/\[.*/, "", part)
        gsub(/\*/, "", part)
        member[n] = part
    }
}

{
    line = $0
    while (1) {
        if (comment) {
            end = index(line, "*/")
            if (!end) {
                line = ""
                break
            }
            line = substr(line, end + 2)
            comment = 0
        }
        start = index(line, "/*")
        if (!start)
            break
        rest = substr(line, start + 2)
        line = substr(line, 1, start - 1)
        end = index(rest, "*/")
        if (!end) {
            comment = 1
            break
        }
        line = line " " substr(rest, end + 2)
    }
}
directive || line ~ /^#/ { directive = line ~ /\\$/; next }
line ~ /^(typedef )?struct [a-z_0-9]+ \{$/ {
    name = line
    sub(/^(typedef )?struct /, "", name)
    sub(/ \{$/, "", name)
    inside = 1
    n = 0
    text = ""
    next
}
inside && line ~ /^\}/ { finish(); inside = 0; next }
inside {
    text = text " " line
    while ((semicolon = index(text, ";"))) {
        declare(substr(text, 1, semicolon - 1))
        text = substr(text, semicolon + 1)
    }
}
