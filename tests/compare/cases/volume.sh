# Volumes and what is mounted from them.

docker volume create data
docker volume create data
docker volume create 'bad name'
docker volume create x
docker volume create --driver nonsense other
docker volume create --opt nonsense=1 other
docker volume create --opt type=tmpfs other
docker volume create --label k=v named
docker volume create --name data2
docker volume create --name data3 data3
docker volume create one two
docker volume create --label =x other
docker volume ls --format '{{.Name}} {{.Driver}} {{.Labels}}'
docker volume ls --filter name=data -q
docker volume ls --filter label=k=v -q
docker volume ls --filter dangling=true -q
docker volume ls --filter dangling=maybe
docker volume ls --filter nonsense=1
docker volume ls --format '{{.Nonsense}}'
docker volume ls extra
docker volume inspect named -f '{{.Name}} {{.Driver}} {{.Scope}} {{.Labels}} {{json .Options}}'
docker volume inspect nosuch
docker volume inspect nosuch named -f '{{.Name}}'
docker volume inspect
docker volume update data
docker volume rm nosuch
docker volume rm -f nosuch
docker volume rm data nosuch
docker volume rm
docker volume prune -f | grep -v '^[0-9a-f]*$' | sort
docker volume prune -af | sort
docker volume prune --filter nonsense=1 -f
docker volume ls -q

docker run --rm -v data:/data busybox sh -c 'echo kept >/data/file'
docker run --rm -v data:/data:ro busybox cat /data/file
docker run --rm -v data:/data:ro busybox touch /data/x
docker run -d --name one -v data:/data busybox sleep 1000
docker volume rm data
docker volume rm -f data
docker inspect one -f '{{range .Mounts}}{{.Type}} {{.Name}} {{.Destination}} {{.Driver}} {{.Mode}} {{.RW}} {{.Propagation}}{{end}}'
docker run --rm --volumes-from one busybox cat /data/file
docker run --rm --volumes-from one:ro busybox touch /data/x
docker run --rm --volumes-from one:nonsense busybox true
docker run --rm --mount type=volume,src=data,dst=/d,readonly busybox cat /d/file
docker run --rm --mount type=volume,src=data,dst=/d,volume-subpath=nosuch busybox true
docker run --rm -v data:/etc busybox ls /etc
docker run --rm -v fresh:/var/www busybox ls /var/www
docker run --rm -v fresh2:/var/www:nocopy busybox ls /var/www
docker rm -f one
docker volume rm data

mkdir folder; echo host >folder/file; docker run --rm -v "$PWD/folder:/a" busybox cat /a/file
docker run --rm -v "$PWD/folder:/a:ro" busybox touch /a/x
docker run --rm -v "$PWD/made:/a" busybox touch /a/x; ls made
docker run --rm --mount type=bind,src="$PWD/folder",dst=/a,ro busybox touch /a/x
docker run --rm --mount "type=bind,src=$PWD/nosuch,dst=/a" busybox true
docker run --rm -v "$PWD/folder/file:/a/file" busybox cat /a/file
# differs: No runc
docker run --rm -v "$PWD/folder/file:/etc" busybox true
# differs: No runc
docker run --rm -v "$PWD/folder:/etc/passwd" busybox true
docker run --rm -v ./folder:/a busybox cat /a/file
docker run --rm --tmpfs /a:size=64k busybox df -k /a
docker run --rm --mount type=tmpfs,dst=/a,tmpfs-size=64k,tmpfs-mode=700 busybox stat -c %a /a
docker run --rm --mount type=tmpfs,dst=/a,tmpfs-size=x busybox true
docker run --rm --mount type=bind,src=/tmp,dst=/a,bind-propagation=nonsense busybox true
docker run --rm --mount type=bind,src=/tmp,dst=/a,volume-nocopy busybox true
