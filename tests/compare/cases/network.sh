# Networks.

docker network ls --format '{{.Name}} {{.Driver}} {{.Scope}}'
docker network ls --filter driver=host --format '{{.Name}}'
docker network ls --filter type=custom -q
docker network ls --filter type=nonsense
docker network ls --filter nonsense=1
docker network ls --filter name=brid --format '{{.Name}}'
docker network ls --filter scope=swarm -q
docker network ls --filter dangling=true -q
docker network ls nonsense
docker network ls --format '{{.Nonsense}}'
docker network inspect bridge -f '{{.Name}} {{.Driver}} {{.Scope}} {{.Internal}} {{.EnableIPv6}}'
docker network inspect host none -f '{{.Name}} {{.Driver}}'
docker network inspect nosuch
docker network inspect
docker network rm bridge
docker network rm host none
docker network rm nosuch
docker network rm -f nosuch
docker network rm

docker network create back
docker network create back
# differs: Names of networks
docker network create 'bad name'
docker network create ''
docker network create --driver nonsense other
docker network create --subnet nonsense other
docker network create --subnet 10.99.0.0/24 --gateway 10.98.0.1 other
docker network create --subnet 10.99.0.0/24 --ip-range 10.98.0.0/25 other
docker network create --subnet 10.99.0.0/24 sub
# differs: More is said
docker network create --subnet 10.99.0.0/25 overlap
docker network create --gateway 10.99.0.1 other
# differs: Options that do nothing
docker network create -o nonsense=1 opts
docker network create -o com.docker.network.driver.mtu=x mtu
docker network create --label =x other
docker network create --internal --label k=v inside
docker network create host
docker network create bridge
docker network create --driver host other
docker network create --attachable here
docker network create --ingress other
docker network create --config-from nosuch other
docker network create --ipam-driver nonsense other
docker network create --scope swarm other
docker network create
docker network create one two
docker network inspect here -f '{{.Attachable}} {{.Ingress}}'
docker network inspect inside -f '{{.Internal}} {{.Labels}} {{.Driver}} {{.Attachable}}'
docker network inspect sub -f '{{json .IPAM.Config}}'
docker network ls --filter label=k --format '{{.Name}}'
docker network rm opts 'bad name' >/dev/null 2>&1; docker network ls --filter type=custom --format '{{.Name}}' | sort
docker network rm back back
docker network prune -f | sort
docker network prune --filter nonsense=1 -f
docker network ls --filter type=custom --format '{{.Name}}' | sort

docker network create --subnet 10.97.0.0/24 net
docker run -d --name one --net net --ip 10.97.0.9 --network-alias uno busybox sleep 1000
docker run --rm --net net busybox ping -c 1 -q one | grep -c '1 packets received'
docker run --rm --net net busybox ping -c 1 -q uno | grep -c '1 packets received'
docker run --rm --net net busybox nslookup nosuch | grep -c NXDOMAIN
# differs: More is said
docker run --net net --ip 10.97.0.9 --name two busybox true
# differs: More is said
docker run --net net --ip 10.96.0.9 busybox true
docker run --net net --ip nonsense busybox true
docker inspect one -f '{{.NetworkSettings.Networks.net.IPAddress}} {{.NetworkSettings.Networks.net.Aliases}}'
docker network rm net
docker network connect net one
docker network connect nosuch one
docker network connect net nosuch
docker network connect bridge one
docker network connect host one
docker network connect none one
docker network connect --ip 1.2.3.4 bridge one
docker network connect
docker network connect net
docker network disconnect bridge one
docker network disconnect bridge one
docker network disconnect nosuch one
docker network disconnect net nosuch
docker network disconnect -f net nosuch
docker network disconnect net one
docker network inspect net -f '{{len .Containers}}'
docker exec one ip -o addr show dev lo | grep -c 127.0.0.1

docker create --name one busybox sleep 1000
docker network create net
docker network connect --alias first --link nosuch:x net one
docker network connect --alias first net one
docker start one
docker network connect net one
docker network disconnect bridge one
docker inspect one -f '{{range $name, $end := .NetworkSettings.Networks}}{{$name}} {{end}}'
docker stop -t 0 one
docker network disconnect net one
docker network connect net one
docker start one
docker run --net container:one --rm busybox hostname -i | wc -l
docker run --net container:one -p 80:80 busybox true
docker run --net container:one --hostname x busybox true
docker run --net container:one --dns 1.1.1.1 busybox true
docker run --net container:one --add-host a:1.1.1.1 busybox true
docker run --net host --network net busybox true
docker run --network-alias x busybox true
docker run --net host --network-alias x busybox true

docker run -d --name db -e PW=secret --expose 5432 -h dbhost busybox sleep 1000
docker run --name web -h webhost --link db:data-base busybox sh -c 'grep dbhost /etc/hosts; env | grep DATA_ | sort'
docker inspect web -f '{{json .HostConfig.Links}} {{json .NetworkSettings.Networks.bridge.Links}}'
docker run --rm --link db busybox ping -c 1 -q db | grep -c '1 packets received'
docker run -d --name long --link db:other busybox sleep 1000
docker restart -t 0 db; docker exec long ping -c 1 -q other | grep -c '1 packets received'
docker run --link a:b:c busybox true
docker run --link : busybox true
docker run --net host --link db busybox true
docker run --net container:db --link db busybox true
docker stop -t 0 db
docker run --rm --name late --link db:x busybox true

docker network create net
docker run -d --name one --net net busybox sleep 1000
docker run -d --name two --net net --link one:uno --link later:tre busybox sleep 1000
docker inspect two -f '{{json .HostConfig.Links}} {{json .NetworkSettings.Networks.net.Links}}'
docker exec two ping -c 1 -q uno | grep -c '1 packets received'
docker exec one ping -c 1 -q uno
docker exec two ping -c 1 -q tre
docker run -d --name later --net net busybox sleep 1000
docker exec two ping -c 1 -q tre | grep -c '1 packets received'
docker run -d --name lone busybox sleep 1000
docker network connect --link two:due net lone
docker exec lone ping -c 1 -q due | grep -c '1 packets received'
docker run --rm --net net --link-local-ip 169.254.7.7 busybox ip -4 -o addr show eth0 | grep -o 'inet 169.254[^ ]* brd [^ ]*'
docker run --net net --link-local-ip x busybox true
docker create --name third --net net --link-local-ip 169.254.7.8 busybox
docker inspect third -f '{{json .NetworkSettings.Networks.net.IPAMConfig}}'
