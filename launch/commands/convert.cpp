#include "launch/commands/convert.h"

#include "model/formats/export_weights.h"
#include "model/io/exit_status.h"

namespace vmla::launch {

int run(const ConvertArgs& args) {
  model::convert_weights(args.in, args.out, args.weights_role, args.to);
  return kDone;
}

}  // namespace vmla::launch
