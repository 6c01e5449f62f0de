# Counts the lines that tint.mjs and hlsl.c print, `ok|refused MILLISECONDS FILE ERROR`; sourced by stages.

# compiled LOG COUNT MOST: passes where all COUNT files of LOG were compiled, each in MOST milliseconds or less.
compiled() {
    awk -v count="$2" -v most="$3" '
        $1 == "ok" || $1 == "refused" { all++ }
        $1 == "ok" { good++; if ($2 > slowest) { slowest = $2; which = $3 } }
        $1 == "refused" { bad = bad " " $3 }
        END {
            sub(".*/", "", which)
            printf "%d of %d variants, slowest %.1f s (%s)", good, count, slowest / 1000, which
            if (bad) printf "; refused:%s", bad
            if (all < count) printf "; the compiler ended after %d", all
            print ""
            exit count == 0 || good < count || all != count || slowest > most
        }' "$1"
}
