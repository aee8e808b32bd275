#include "launch/commands/export.h"

#include "model/formats/export_weights.h"
#include "model/io/exit_status.h"

namespace vmla::launch {

int run(const ExportArgs& args) {
  model::export_checkpoint(args.checkpoint, args.format, args.weights, args.dtype, args.out);
  return kDone;
}

}  // namespace vmla::launch
