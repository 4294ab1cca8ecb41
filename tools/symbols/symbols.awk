# SPDX-License-Identifier: GPL-2.0-or-later
# From `nm -n` of the kernel to the assembly of its table of functions, which panic names addresses with:
# pairs of {offset from the image's start, offset of the name}, sorted by address.
BEGIN {
    print ".section .symbols, \"a\""
    print ".balign 8"
    print ".global symbol_table, symbol_names, symbol_count"
    print "symbol_table:"
}
($2 == "t" || $2 == "T") && $3 !~ /^\./ {
    print ".long 0x" substr($1, 9) " - 0x80000000, " length_so_far
    names = names ".asciz \"" $3 "\"\n"
    length_so_far += length($3) + 1
    count++
}
BEGIN { length_so_far = 0; count = 0 }
END {
    print "symbol_count: .long " count
    print "symbol_names:"
    printf "%s", names
    print ".byte 0"
}
