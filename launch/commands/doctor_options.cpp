#include "launch/commands/doctor.h"

namespace vmla::launch {

const CommandText DoctorArgs::kText = {
    "doctor",
    "what this machine and this build can do, and what is wrong with them",
    R"(Prints one page: processors, memory, disk, limits, libraries; the driver and every GPU with the rates of its products
and copies; each kernel against its reference; attention by shape; NCCL, the store and the launcher. A line says `ok`,
`slow`, `wrong` or `absent`, and behind the figures what to do. Without a GPU the kernels are checked on the CPU.

It takes some seconds, writes a file of at most 256 MB into the folder of --disk and removes it, and ends with status 1
when a line says `wrong`.

Examples:
  vmla doctor
  vmla doctor --disk runs --json doctor.json)"};

void DoctorArgs::define(OptionSet& options) {
  options.text("--disk", disk, "DIR", "an existing folder on the disk that runs are written to")
      .shows_default();
  options.text("--json", json, "FILE", "also write the page as JSON, in SI units");
}

}  // namespace vmla::launch
