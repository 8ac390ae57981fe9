# Images: listing, names, archives, and what refuses.

docker images | sort
docker images --format '{{.Repository}}:{{.Tag}}' | sort
docker images -q | sort | uniq | wc -l
docker images server
docker images server:1 --format '{{.Repository}} {{.Tag}}'
docker images nosuch
docker images 'Bad Name'
docker images one two
docker images --filter reference='serv*' --format '{{.Repository}}'
docker images --filter label=role=server --format '{{.Repository}}' | sort
docker images --filter dangling=true -q
docker images --filter dangling=maybe
docker images --filter before=nosuch
docker images --filter nonsense=1
docker images --format '{{.Nonsense}}'
docker images --no-trunc --format '{{.ID}}' busybox
# differs: Digests of loaded images
docker images --digests busybox
docker image ls nosuch -q

docker tag busybox other:1
docker tag busybox other
docker tag nosuch other
docker tag busybox 'Bad Name'
docker tag busybox UPPER
docker tag busybox other:bad:tag
docker tag busybox sha256:0000000000000000000000000000000000000000000000000000000000000000
docker tag busybox
docker tag
docker rmi other:1
docker rmi other:1
docker rmi other nosuch
docker rmi 'Bad Name'
docker rmi
docker image rm ''
docker images -q other

docker create --name user server:1
docker rmi server:1
docker rmi localhost:5000/team/app:2
docker rmi -f server:1
docker tag localhost:5000/team/app:2 server:1
docker rm user
docker images --format '{{.Repository}}:{{.Tag}}' | sort

docker image inspect busybox -f '{{.Id}} {{.Os}} {{.Architecture}} {{.Config.Cmd}} {{.RepoTags}} {{.RootFS.Type}}'
docker image inspect server:1 -f '{{json .Config.ExposedPorts}} {{json .Config.Volumes}} {{.Config.WorkingDir}} {{.Config.StopSignal}}'
docker image inspect server:1 -f '{{json .Config.Labels}} {{.Config.Env}} {{.Created}}'
docker image inspect nosuch
docker image inspect nosuch busybox -f '{{.Os}}'
docker image inspect
docker image inspect busybox -f '{{.Nonsense}}'
docker inspect --type image busybox -f '{{.Config.Entrypoint}}'
docker history busybox --format '{{.CreatedBy}} {{.Comment}}'
docker history -q busybox
docker history nosuch
docker history

docker run --name source busybox sh -c 'echo x > /x; rm -r /var; mkdir /d'
docker commit source
docker commit -a me -m 'a message' source made:1
docker commit -c 'CMD ["cat", "/x"]' -c 'ENV A=1 B=2' -c 'EXPOSE 80' -c 'LABEL a=b' -c 'USER 0' -c 'WORKDIR /d' source made:2
docker commit -c 'HEALTHCHECK --interval=5s CMD true' -c 'ONBUILD RUN x' -c 'STOPSIGNAL SIGINT' -c 'VOLUME /v' -c 'ENTRYPOINT ["cat"]' source made:3
docker run --rm made:2
docker run --rm made:1 ls /var
docker inspect made:1 -f '{{.Author}} {{.Comment}} {{json .Config.Cmd}} {{json .Config.Env}} {{len .RootFS.Layers}}'
docker inspect made:2 -f '{{json .Config.Cmd}} {{json .Config.Env}} {{json .Config.ExposedPorts}} {{json .Config.Labels}} {{.Config.User}} {{.Config.WorkingDir}}'
docker inspect made:3 -f '{{json .Config.Entrypoint}} {{json .Config.Cmd}} {{json .Config.Healthcheck}} {{json .Config.OnBuild}} {{.Config.StopSignal}} {{json .Config.Volumes}}'
docker history made:1 --format '{{.CreatedBy}}|{{.Comment}}'
docker commit nosuch
docker commit source 'Bad Name'
docker commit source UPPER
docker commit -c 'RUN x' source
docker commit -c 'NONSENSE' source
docker commit
docker commit source a b
docker run --name idle busybox true
docker commit idle same:1
docker inspect same:1 -f '{{len .RootFS.Layers}}'
docker history same:1 --format '{{.CreatedBy}} {{.Size}}'
docker run -d --name busy busybox sleep 100
docker commit --pause=false busy made:4
docker commit busy made:5
docker inspect busy -f '{{.State.Status}}'
docker pause busy
docker commit busy made:6
docker inspect busy -f '{{.State.Status}}'
docker rmi made:1 made:2 | grep -c Untagged

docker save -o out.tar busybox; tar -xOf out.tar manifest.json | grep -c busybox:latest
docker save nosuch -o x.tar
docker save -o /nosuchdir/x busybox
docker save
docker save busybox server:1 | docker load
docker save -o out.tar busybox; docker load -i out.tar
docker load -q -i out.tar
docker load -i nosuchfile
# differs: Words about archives
echo nonsense | docker load
# differs: Words about archives
docker load </dev/null
docker load extra

docker run --name base busybox true
docker export base -o root.tar
docker import root.tar made:1 | cut -c 1-7
docker import -c 'CMD ["echo", "hi"]' -c 'ENV A=1' -m words root.tar made:2 | cut -c 1-7
docker run --rm made:2
docker run --rm made:1
docker import nosuchfile
docker import root.tar 'Bad Name'
docker import -c 'NONSENSE x' root.tar
docker import -c 'RUN x' root.tar
docker import
# differs: Words about archives
echo nonsense | docker import - made:3
docker import --platform nonsense root.tar
docker image prune -f
docker image prune --filter nonsense=1 -f

docker pull 'Bad Name'
docker pull
docker pull UPPER
docker pull -a busybox:1
# differs: Words about registries
docker pull localhost:1/nosuch
docker pull --nonsense
# differs: An image that is not there is not pushed
docker push nosuch
# differs: An image that is not there is not pushed
docker push localhost:1/nosuch
docker push 'Bad Name'
docker push
docker push -a busybox:latest
docker search
docker search --limit 1000 x
docker search --filter nonsense=1 x
# differs: Words about registries
docker login localhost:1 -u me -p secret
docker login -u me
docker login --password-stdin
docker logout localhost:1
docker logout

docker build nosuchdir
docker build
docker builder prune -f
docker manifest inspect nosuch/nosuch
docker image nonsense
docker trust inspect busybox

docker run --name base busybox touch /x
docker commit base made:1 >/dev/null; docker save -o made.tar made:1; docker tag busybox made:1
# differs: The newer image store
docker load -i made.tar
docker load -i made.tar
docker rm base
docker tag made:1 made:2
docker rmi made:2
# differs: The newer image store
docker rmi made:1
docker images -q --filter dangling=true

docker run --name base busybox sh -c 'echo 1 >/1'
docker commit base made:1 >/dev/null; docker run --name more made:1 sh -c 'echo 2 >/2'; docker commit more made:2 >/dev/null
docker rm base more
# differs: The newer image store
docker rmi made:1
# differs: The newer image store
docker rmi made:2
docker rmi busybox@sha256:0000000000000000000000000000000000000000000000000000000000000000

docker image inspect busybox -f '{{json .Metadata.LastTagTime}}'
docker tag busybox again:1; docker image inspect again:1 -f '{{if .Metadata.LastTagTime}}tagged{{end}}'
