# Words that the client alone or the client and its daemon's version decide.

docker nonsense
docker --nonsense
docker container
docker container nonsense
docker image
docker volume nonsense
docker network nonsense
docker create
docker start
docker restart
docker kill
docker wait
docker inspect
docker run --help >/dev/null
docker help nonsense
docker -H nonsense://x ps
docker -H unix:///nosuch.sock ps
docker -H tcp://127.0.0.1:1 version --format '{{.Client.Os}}'
DOCKER_API_VERSION=1.40 docker ps -q
DOCKER_API_VERSION=1.99 docker ps -q
DOCKER_API_VERSION=1.20 docker ps -q
DOCKER_API_VERSION=x docker ps -q

docker compose version --short >/dev/null 2>&1; echo asked
docker ps --filter
docker ps -f name=one -f name=two -q
docker logs -n
docker run -e
docker rm --force
docker rmi --force
docker stop --time
docker create --name
docker network create --driver
docker volume create --driver
