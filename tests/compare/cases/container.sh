# Containers, from create to rm. A line is a case, a paragraph a scene; see ../compare.

docker run --rm busybox echo hello
docker run --rm busybox sh -c 'echo out; echo err >&2; exit 7'
echo text | docker run --rm -i busybox cat
docker run --rm busybox sh -c 'kill -9 $$'
docker run --rm server:1 sh -c 'pwd; echo $LEVEL'
docker run --rm --entrypoint echo server:1 one two
docker run --rm -e LEVEL=debug -e ONLY server:1 env
docker run --rm --hostname box busybox hostname
docker run --rm -u 33:44 busybox id
docker run --rm -u www busybox id
docker run --rm --read-only busybox touch /file
docker run --rm -w /made/here busybox pwd

# differs: No runc
docker run --rm busybox nosuchprogram
# differs: No runc
docker run --rm busybox /etc/passwd
# differs: No runc
docker run --rm busybox /nosuchfile
docker run --rm -u nobodyhere busybox true
docker run --rm -u root:nogrouphere busybox true
docker run --rm -w relative busybox true
docker run --rm --entrypoint '' busybox
# differs: No runc
docker run --rm --entrypoint nosuch busybox

docker run
docker run --nonsense busybox
docker run -Z busybox
docker run ''
docker run 'Bad Name'
docker run UPPER:tag
docker run busybox:nosuchtag:x
docker run --name 'bad name' busybox true
docker run --name x busybox true
docker run --env =x busybox true
docker run --env-file nosuchfile busybox true
printf 'A B=1\n' >env; docker run --rm --env-file env busybox env
docker run --label-file nosuchfile busybox true
docker run --label =x busybox true

docker run --rm --restart always busybox true
docker run --rm -d -a stdout busybox true
docker run --restart sometimes busybox true
docker run --restart always:3 busybox true
docker run --restart on-failure:x busybox true
docker run --restart on-failure:-1 busybox true
docker run --restart on-failure:1:2 busybox true

docker run --memory 1m busybox true
docker run --memory lots busybox true
docker run --memory -1 busybox true
docker run --memory 64m --memory-swap 32m busybox true
docker run --cpus 100000 busybox true
docker run --cpus -1 busybox true
docker run --cpus many busybox true
docker run --pids-limit x busybox true
docker run --cpuset-cpus 4096 busybox true
docker run --cpuset-cpus x busybox true
docker run --shm-size x busybox true
docker run --shm-size 0 busybox true
docker run --ulimit nofile busybox true
docker run --ulimit nosuch=1 busybox true
docker run --ulimit nofile=9:1 busybox true
# differs: Limits that work
docker run --blkio-weight 5 busybox true
docker run --oom-score-adj 5000 busybox true
docker run --memory-swappiness 200 busybox true

docker run -p 80:80:80:80 busybox true
docker run -p 99999:80 busybox true
docker run -p x:80 busybox true
docker run -p 80:80/nonsense busybox true
docker run -p 1.2.3:80:80 busybox true
docker run -p 80-81:80-82 busybox true
docker run --expose x busybox true
docker run --expose 99999 busybox true
# differs: Told when it is asked
docker run --net nosuchnet busybox true
# differs: Told when it is asked
docker run --net container:nosuch busybox true
docker run --net host -p 80:80 --rm busybox true
docker run --net none --hostname box --rm busybox hostname
# differs: Told when it is asked
docker run --net host --ip 1.2.3.4 busybox true
docker run --ip 1.2.3.4 busybox true
docker run --ip nonsense busybox true
docker run --mac-address nonsense busybox true
docker run --dns nonsense busybox true
docker run --add-host nonsense busybox true
docker run --add-host 'a:b' busybox true
docker run --link nosuch busybox true

docker run -v a:b:c:d busybox true
docker run -v relative:relative busybox true
docker run -v /a busybox ls -d /a
# differs: Volumes at relative paths
docker run -v :/a busybox true
docker run -v /a: busybox true
docker run -v /tmp:/a:nonsense busybox true
docker run -v /tmp:/a:ro,rw busybox true
docker run -v 'bad name:/a' busybox true
docker run -v /:/ busybox true
docker run -v vol:/ busybox true
docker run --mount type=bind busybox true
docker run --mount type=nonsense,target=/a busybox true
docker run --mount target=/a,source=/nosuchdir,type=bind busybox true
docker run --mount nonsense busybox true
docker run --mount type=bind,source=/tmp busybox true
docker run --mount type=volume,source=vol,target=/a,nonsense=1 busybox true
docker run --mount type=tmpfs,source=/tmp,target=/a busybox true
docker run --tmpfs relative busybox true
# differs: Told when it is asked
docker run --tmpfs /a:nonsense busybox true
docker run -v /tmp:/a -v /tmp:/a busybox true
docker run --volumes-from nosuch busybox true

docker run --cap-add NONSENSE busybox true
docker run --cap-drop NONSENSE busybox true
docker run --security-opt nonsense busybox true
docker run --security-opt seccomp=nosuchfile busybox true
docker run --security-opt no-new-privileges=maybe busybox true
docker run --log-driver nonsense busybox true
docker run --log-opt nonsense=1 busybox true
# differs: Told when it is asked
docker run --log-opt max-size=x busybox true
# differs: Told when it is asked
docker run --log-opt max-file=0 busybox true
docker run --pid nonsense busybox true
docker run --ipc nonsense busybox true
docker run --uts nonsense busybox true
docker run --userns nonsense busybox true
docker run --cgroupns nonsense busybox true
docker run --isolation nonsense busybox true
docker run --runtime nonsense busybox true
# differs: Told when it is asked
docker run --device /nosuchdevice busybox true
docker run --device /dev/null:/dev/x:nonsense busybox true
docker run --sysctl nonsense busybox true
docker run --sysctl kernel.nonsense=1 busybox true
docker run --group-add nosuchgroup busybox true
docker run --stop-signal NONSENSE busybox true
docker run --stop-timeout x busybox true
docker run --storage-opt nonsense busybox true
docker run --storage-opt size=1g busybox true
docker run --platform nonsense busybox true
# differs: Other processors
docker run --platform linux/s390x busybox true
docker run --health-cmd true --health-interval 1us busybox true
docker run --health-retries -1 busybox true
docker run --no-healthcheck --health-cmd true busybox true
docker run --pull sometimes busybox true
# differs: More is said
docker run --gpus all busybox true
# differs: Told when it is asked
docker run --detach-keys nonsense busybox true
docker run --attach nonsense busybox true

docker create --name one busybox sleep 1000
docker create --name one busybox sleep 1000
docker ps
docker ps -a --format '{{.Names}} {{.Status}} {{.Command}} {{.Image}}'
docker start one
docker ps --format '{{.Names}} {{.Status}} {{.Command}} {{.Ports}}'
docker start one
docker start one nosuch
docker start -a one two
docker rm one
docker rm -f one
docker rm -f one
docker rm one
docker rm
docker ps -a

docker run -d --name one busybox sleep 1000
docker rename one one
docker rename one two
docker rename two ''
docker rename two 'x y'
docker rename nosuch other
docker create --name third busybox
docker rename third two
docker ps -a --format '{{.Names}}'
docker container rename two
docker rename

docker run -d --name one busybox sleep 1000
docker pause one
docker pause one
docker exec one true
docker ps --format '{{.Status}}'
docker start one
docker unpause one
docker unpause one
docker pause nosuch
docker unpause nosuch one
docker pause

docker run -d --name one busybox sleep 1000
docker kill -s NONSENSE one
docker kill -s 0 one
docker kill -s 99 one
docker kill one
docker kill one
docker kill nosuch
docker ps -a --format '{{.Names}} {{.Status}}'
docker exec one true
docker pause one
docker unpause one
docker stop one
docker wait one
docker wait nosuch one
docker restart -t 0 one
docker restart nosuch
docker stop -t x one
docker stop -t 0 one nosuch
docker stop --signal KILL one
docker start -a nosuch
docker stop

docker run -d --name done busybox sh -c 'echo out; echo err >&2; exit 3'
docker wait done
docker logs done
docker logs --tail 0 done
docker logs --tail x done
docker logs --since nonsense done
docker logs --until 2001-01-01 done
docker logs nosuch
docker logs
docker logs done done
docker logs -t done
docker start -a done
docker attach done
docker attach nosuch
docker attach
docker ps
docker ps -l --format '{{.Names}}'
docker ps -qa --filter exited=3 --format '{{.Names}}'
docker inspect -f '{{.State.ExitCode}} {{.State.Status}} {{.State.Running}} {{.State.OOMKilled}}' done
docker container prune -f
docker ps -aq

docker run -d --name tty -t busybox sh -c 'stty size; tty; sleep 1000'
docker logs tty
# differs: Told when it is asked
docker attach --no-stdin --detach-keys nonsense tty
docker run -t busybox true
docker run -it busybox true

docker run -d --name web -p 8080:80 -p 127.0.0.1:8081:81/udp server:1
docker port web | sort
docker port web 80
docker port web 80/tcp
docker port web 81/udp
docker port web 82
docker port web nonsense
docker port nosuch
docker port
docker ps --format '{{.Ports}}'
# differs: More is said
docker run -d --name again -p 8080:80 server:1
docker ps -a --filter name=again --format '{{.Names}} {{.Status}}'
docker rm again
docker port web 80 81

docker run -d --name web -P server:1
docker port web | sort
docker ps --format '{{.Ports}} {{.Label "role"}}'
docker ps --filter publish=80 --format '{{.Names}}'
docker ps --filter expose=80 --format '{{.Names}}'
docker ps --filter ancestor=server:1 --format '{{.Names}}'
docker ps --filter label=role --format '{{.Names}}'
docker ps --filter label=role=client --format '{{.Names}}'
docker ps --filter volume=/data --format '{{.Names}}'
docker ps --filter network=bridge --format '{{.Names}}'
docker ps --filter status=running --format '{{.Names}}'
docker ps --filter status=nonsense
docker ps --filter nonsense=1
docker ps --filter nonsense
docker ps --filter health=nonsense
docker ps --filter exited=x
docker ps --filter before=nosuch
docker ps --filter since=nosuch
docker ps --filter is-task=maybe
# differs: Filters that mean nothing
docker ps --filter name='['
docker ps --format '{{.Nonsense}}'
docker ps --format '{{'
docker ps -n x
docker ps nonsense
docker ps --format 'table {{.Names}}\t{{.Image}}'
docker ps --format json --filter name=nosuch
docker ps -n 1 -q | wc -l

docker run --name files busybox sh -c 'echo new >/new; rm /etc/group; mkdir /folder'
docker diff files | sort
docker diff nosuch
docker diff
docker cp files:/new .; cat new
docker cp files:/nosuch .
docker cp nosuch:/new .
docker cp nosuch files:/
docker cp new files:/folder/; docker diff files | sort
docker cp new files:/nosuchfolder/ 2>&1 | tail -n 1
docker cp files:/new files:/newer
docker cp new other
docker cp
docker cp files:/folder - | tar -t
docker export files | tar -t | grep new
docker export -o out.tar files; tar -tf out.tar | grep folder
docker export nosuch
docker export
docker export -o /nosuchdir/x files

docker run -d --name one busybox sleep 1000
docker top one -o comm,args | tail -n 1
docker top one -o pid,nonsense
docker top nosuch
docker top
docker stats --no-stream nosuch
docker stats --no-stream --format '{{.Name}} {{.PIDs}}' one
docker update --memory 64m --memory-swap 64m one
docker update --memory 1m one
docker update --restart sometimes one
docker update --cpus 0.5 nosuch
docker update one
docker update
docker inspect -f '{{.HostConfig.Memory}}' one
docker kill one
docker top one -o comm,args | tail -n 1
docker stats --no-stream --format '{{.Name}} {{.PIDs}}' one

docker run --name limits --memory 64m --cpus 0.5 --pids-limit 50 busybox true
docker inspect -f '{{.HostConfig.Memory}} {{.HostConfig.NanoCpus}} {{.HostConfig.PidsLimit}} {{.HostConfig.MemorySwap}}' limits
docker create --name all --init --privileged --read-only -i -t -h box --dns 1.1.1.1 --dns-search a.b --add-host a:1.2.3.4 -l k=v busybox
docker inspect -f '{{.HostConfig.Init}} {{.HostConfig.Privileged}} {{.HostConfig.ReadonlyRootfs}} {{.Config.OpenStdin}} {{.Config.Tty}}' all
docker inspect -f '{{json .Config.Labels}} {{.HostConfig.Dns}} {{.HostConfig.ExtraHosts}} {{.Config.Hostname}}' all
docker inspect -f '{{.Nonsense}}' all
docker inspect -f '{{' all
docker inspect nosuch
docker inspect
docker inspect --type nonsense all
docker inspect --type image all
docker container inspect nosuch all -f '{{.Name}}'
docker inspect -f '{{json .Mounts}}' all
docker inspect -f '{{range $k, $v := .NetworkSettings.Networks}}{{$k}}{{end}}' all

docker run -d --name sick --health-cmd 'exit 1' --health-interval 100ms --health-retries 1 busybox sleep 1000
sleep 2; docker inspect -f '{{.State.Health.Status}}' sick
docker ps --filter health=unhealthy --format '{{.Names}}'
docker inspect -f '{{.Config.Healthcheck.Test}} {{.Config.Healthcheck.Interval}} {{.Config.Healthcheck.Retries}}' sick

docker run --name base busybox sh -c 'echo new >/new'
docker commit -m words -a me base made:1
docker run --rm made:1 cat /new
docker commit nosuch made:2
docker commit base 'Bad Name'
docker commit
docker commit -c 'NONSENSE x' base made:3
docker commit -c 'CMD ["cat", "/new"]' -c 'ENV A=1' base made:4
docker run --rm made:4
docker inspect -f '{{.Author}} {{.Comment}} {{.Config.Cmd}}' made:1 made:4
