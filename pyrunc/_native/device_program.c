/* The device program of a cgroup v2: bpf(2). The module includes this after clone.c. */
#include <linux/bpf.h>

#define DEVICE_PROGRAMS 64
#define DEVICE_NAME "pyrunc_devices" /* tells ours from those of systemd */

static int bpf_call(int command, union bpf_attr *attributes) {
  return result_of(syscall(SYS_bpf, command, attributes, sizeof *attributes));
}

static int load_device_program(const char *insns, int count) {
  union bpf_attr attributes = {
      .prog_type = BPF_PROG_TYPE_CGROUP_DEVICE,
      .insn_cnt = (uint32_t)count,
      .insns = (uint64_t)(uintptr_t)insns,
      .license = (uint64_t)(uintptr_t) "Apache-2.0",
      .prog_name = DEVICE_NAME,
  };
  return bpf_call(BPF_PROG_LOAD, &attributes);
}

static int program_by_id(uint32_t id) {
  union bpf_attr attributes = {.prog_id = id};
  return bpf_call(BPF_PROG_GET_FD_BY_ID, &attributes);
}

static int is_ours(uint32_t id) {
  struct bpf_prog_info info = {0};
  SCOPED_FD program = program_by_id(id);
  if (program < 0)
    return 0;
  union bpf_attr attributes = {.info = {
                                   .bpf_fd = (uint32_t)program,
                                   .info_len = sizeof info,
                                   .info = (uint64_t)(uintptr_t)&info,
                               }};
  return bpf_call(BPF_OBJ_GET_INFO_BY_FD, &attributes) >= 0 && strcmp(info.name, DEVICE_NAME) == 0;
}

/* How many device programs of ours are attached to the cgroup itself; their ids in `ids`. */
static int attached_programs(int cgroup_fd, uint32_t *ids) {
  union bpf_attr attributes = {.query = {
                                   .target_fd = (uint32_t)cgroup_fd,
                                   .attach_type = BPF_CGROUP_DEVICE,
                                   .prog_ids = (uint64_t)(uintptr_t)ids,
                                   .prog_cnt = DEVICE_PROGRAMS,
                               }};
  int error = bpf_call(BPF_PROG_QUERY, &attributes);
  if (error < 0)
    return error;
  int ours = 0;
  for (uint32_t i = 0; i < attributes.query.prog_cnt; i++) {
    if (is_ours(ids[i]))
      ids[ours++] = ids[i];
  }
  return ours;
}

/* replaced: descriptor of the program whose place it takes, or -1. */
static int attach_program(int cgroup_fd, int program, int replaced) {
  union bpf_attr attributes = {
      .target_fd = (uint32_t)cgroup_fd,
      .attach_bpf_fd = (uint32_t)program,
      .attach_type = BPF_CGROUP_DEVICE,
      .attach_flags = BPF_F_ALLOW_MULTI,
  };
  if (replaced >= 0) {
    attributes.attach_flags |= BPF_F_REPLACE;
    attributes.replace_bpf_fd = (uint32_t)replaced;
  }
  return bpf_call(BPF_PROG_ATTACH, &attributes);
}

static int detach_program(int cgroup_fd, uint32_t id) {
  SCOPED_FD program = program_by_id(id);
  if (program < 0)
    return program;
  union bpf_attr attributes = {
      .target_fd = (uint32_t)cgroup_fd,
      .attach_bpf_fd = (uint32_t)program,
      .attach_type = BPF_CGROUP_DEVICE,
  };
  return bpf_call(BPF_PROG_DETACH, &attributes);
}

static int pyrunc_cgroup_device(int cgroup_fd, const char *insns, int count) {
  uint32_t ids[DEVICE_PROGRAMS] = {0};
  SCOPED_FD program = load_device_program(insns, count);
  if (program < 0)
    return program;
  int attached = attached_programs(cgroup_fd, ids);
  if (attached < 0)
    return attached;
  if (attached == 1) {
    SCOPED_FD old = program_by_id(ids[0]);
    return old < 0 ? old : attach_program(cgroup_fd, program, old);
  }
  /* The new one first: at no time is nothing forbidden. */
  int error = attach_program(cgroup_fd, program, -1);
  for (int i = 0; error >= 0 && i < attached; i++)
    error = detach_program(cgroup_fd, ids[i]);
  return error;
}
