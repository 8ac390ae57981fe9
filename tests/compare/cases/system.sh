# The daemon itself, its events, and what it does not have.

docker version --format '{{.Server.Os}} {{.Server.Arch}}'
docker version --format '{{.Nonsense}}'
docker version extra

# differs: The daemon tells what it is
docker info --format '{{.OSType}} {{.Architecture}} {{.Driver}} {{.LoggingDriver}} {{.CgroupDriver}} {{.CgroupVersion}}'
# differs: The daemon tells what it is
docker info --format '{{.Containers}} {{.ContainersRunning}} {{.Images}} {{.DefaultRuntime}} {{.SecurityOptions}}'
# differs: The daemon tells what it is
docker info --format '{{.Swarm.LocalNodeState}} {{.LiveRestoreEnabled}} {{.ExperimentalBuild}} {{.NCPU}}'
# differs: The daemon tells what it is
docker info --format '{{.Plugins.Network}} {{.Plugins.Volume}} {{.Plugins.Log}}'
docker info extra
docker info --format '{{.Nonsense}}'

docker system df
docker system df --format '{{.Type}} {{.TotalCount}} {{.Active}}'
docker system prune -f
docker system prune -f --filter nonsense=1
docker system nonsense
docker system

date +%s.%N >begin
docker run --name seen busybox true
# Clients cut the end of the range to whole seconds.
docker rm seen; sleep 1.1
docker events --since $(cat begin) --until 0s --filter container=seen --format '{{.Type}} {{.Action}} {{.Actor.Attributes.name}} {{.Actor.Attributes.image}}'
docker events --since $(cat begin) --until 0s --filter container=seen --filter event=die --format '{{.Actor.Attributes.exitCode}}'
docker events --since nonsense
# differs: Filters that mean nothing
docker events --since $(cat begin) --until 0s --filter nonsense=1 --filter container=nosuch
docker events --since $(cat begin) --until 0s --filter type=nonsense
docker events extra
docker volume create seen; docker volume rm seen; sleep 1.1
# differs: Events by kind
docker events --since $(cat begin) --until 0s --filter volume=seen --format '{{.Type}} {{.Action}} {{.Actor.ID}}'
docker network create seen >/dev/null; docker network rm seen; sleep 1.1
# differs: Events by kind
docker events --since $(cat begin) --until 0s --filter network=seen --format '{{.Type}} {{.Action}} {{.Actor.Attributes.name}}'

# differs: No swarm, no plugins
docker swarm init
# differs: No swarm, no plugins
docker swarm leave
# differs: No swarm, no plugins
docker swarm join localhost:1
docker node ls
docker service ls
docker service create busybox
docker stack ls
docker secret ls
docker config ls
# differs: No swarm, no plugins
docker plugin ls
# differs: No swarm, no plugins
docker plugin install nosuch/plugin
docker plugin inspect nosuch
docker checkpoint ls nosuch
docker context ls --format '{{.Name}}'
