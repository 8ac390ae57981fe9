# Terminals: `script` gives the client one of its own.

script -qec "docker run --rm -t busybox sh -c 'tty; echo err >&2; exit 3'" /dev/null
echo hello | script -qec "docker run --rm -it busybox sh -c 'read word; echo got \$word'" /dev/null
script -qec "stty rows 33 cols 77; docker run --rm -it busybox sh -c 'sleep 1; stty size'" /dev/null
script -qec "stty rows 33 cols 77; docker run -d -t --name held busybox sleep 1000 >/dev/null; docker exec -it held sh -c 'sleep 1; stty size; echo \$TERM'" /dev/null
docker run --rm -t busybox sh -c 'echo one; echo two' | od -c | head -n 2
docker exec held sh -c 'ls -l /dev/console | cut -c 1'
docker exec -e TERM=dumb -t held sh -c 'echo $TERM'

(sleep 2; printf '\020\021'; sleep 1) | script -qec "docker run -it --name keys busybox sh" /dev/null >/dev/null; docker inspect keys -f '{{.State.Running}}'
(sleep 2; printf 'echo x\nexit 5\n'; sleep 1) | script -qec "docker attach keys" /dev/null | tail -n 1; docker wait keys
(sleep 2; printf 'a'; sleep 1) | script -qec "docker run -it --detach-keys a --name own busybox sh" /dev/null >/dev/null; docker inspect own -f '{{.State.Running}}'
(sleep 2; printf '\003'; sleep 1) | script -qec "docker run -it --name broken busybox sleep 1000" /dev/null >/dev/null; docker wait broken
(sleep 1; printf '\020\021'; sleep 1) | script -qec "docker exec -it own sh" /dev/null | tail -n 1; docker inspect own -f '{{len .ExecIDs}}'
