# Commands in running containers.

docker run -d --name one -w /tmp -e KEEP=yes busybox sleep 1000
docker exec one echo hi
docker exec one sh -c 'echo err >&2; exit 5'
docker exec one pwd
docker exec one sh -c 'echo $KEEP'
docker exec -e X=1 -e KEEP=no one sh -c 'echo $X $KEEP'
docker exec -w / one pwd
docker exec -u www one id
docker exec -u 1:2 one id
echo words | docker exec -i one cat
docker exec -d one true
docker exec one sh -c 'kill -9 $$'
docker exec --privileged one true

docker run -d --name one busybox sleep 1000
docker exec one nosuch
docker exec one /etc/passwd
docker exec one /tmp
docker exec one
docker exec
docker exec nosuch true
docker exec -w /nosuchdir one pwd
# differs: Told when it is asked
docker exec -w relative one pwd
docker exec -u nosuchuser one id
docker exec -u 1:nosuchgroup one id
docker exec -t one true
docker exec -it one true
docker exec -e =x one true
docker exec --env-file nosuchfile one true
docker exec --nonsense one true
docker exec --detach-keys nonsense one true
docker exec -d one nosuch
docker exec '' true
