/* SPDX-License-Identifier: MIT */
/* passt: networking for a virtual machine, without privileges. */
#include <stdlib.h>

#include "base/log.h"
#include "conf/die.h"
#include "core/engine.h"
#include "core/process.h"

static void print_hint(const char *path)
{
	if (!path[0])
		return;
	log_info("You can now start qemu (>= 7.2) with this network interface:");
	log_info("    -device virtio-net-pci,netdev=s -netdev stream,id=s,server=off,addr.type=unix,addr.path=%s", path);
	log_info("or an older one through qrap:");
	log_info("    ./qrap 5 kvm ... -net socket,fd=5 -net nic,model=virtio");
}

/* Anything that fails here has been logged, and the program has not begun its work. */
static bool start(struct process *p, struct engine *e, struct conf *c)
{
	if (process_begin(p, c) || engine_open(e, c))
		return false;
	conf_print(c);
	if (process_drop(p) || engine_start(e))
		return false;
	print_hint(e->socket_path);
	return !process_ready(p);
}

int main(int argc, char **argv)
{
	static struct process process;
	static struct engine engine;
	static struct conf conf;
	int status;

	process_stdio();
	conf_load(&conf, argc, argv);
	if (conf.mode != CONF_PASST)
		die("This build has no pasta mode");
	if (!start(&process, &engine, &conf))
		return EXIT_FAILURE;

	status = engine_run(&engine);
	engine_close(&engine);
	process_end(&process);
	return status;
}
