#!/bin/sh
# Takes wrangler's words, keeps values in `store` and writes what it was asked to `log`. The store `locked` is somebody else's.
echo "$*" >> log
store=store
case "$*" in
  *locked*)
    echo "Authentication error [code: 10000]" >&2
    exit 1 ;;
esac
case "$1 $2 $3" in
  "r2 object put")
    key=${4#*/}
    mkdir -p "$(dirname "$store/$key")" && cp "$6" "$store/$key" && echo "Upload complete." ;;
  "r2 object get")
    key=${4#*/}
    if [ -f "$store/$key" ]; then
      cp "$store/$key" "$6" && echo "Download complete."
    else
      : > "$6"
      echo "X [ERROR] The specified key does not exist." >&2
      exit 1
    fi ;;
  "kv key put")
    mkdir -p "$(dirname "$store/$6")" && cp "$8" "$store/$6" && echo "Writing the contents of $8" ;;
  "kv key get")
    if [ -f "$store/$6" ]; then
      cat "$store/$6"
    elif [ "$7" = --local ]; then
      echo "Value not found"
    else
      echo "X [ERROR] Failed to fetch https://api.example/values/$6 - 404: Not Found);" >&2
      exit 1
    fi ;;
  *)
    echo "Unknown arguments" >&2
    exit 1 ;;
esac
