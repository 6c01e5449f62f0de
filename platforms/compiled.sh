# Counts the lines that tint.mjs and hlsl.c print, `ok|refused MILLISECONDS FILE ERROR`; sourced by stages.

# compiled LOG MOST: passes where every file of LOG was compiled, each in MOST milliseconds or less.
compiled() {
    awk -v most="$2" '
        $1 == "ok" || $1 == "refused" { all++ }
        $1 == "ok" { good++; if ($2 > slowest) { slowest = $2; which = $3 } }
        $1 == "refused" { bad = bad " " $3 }
        END {
            sub(".*/", "", which)
            printf "%d of %d variants, slowest %.1f s (%s)", good, all, slowest / 1000, which
            if (bad) printf "; refused:%s", bad
            print ""
            exit all == 0 || good < all || slowest > most
        }' "$1"
}
