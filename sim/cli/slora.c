/* SPDX-License-Identifier: Apache-2.0 */
#include "sim/cli/slora.h"

#include <math.h>
#include <string.h>

#include "sim/core/json.h"

/* Schedulers of the artifact (fairness.md 2.4). The recorded runs carry its extra charge at each
 * finish. */
static const struct {
    const char *said, *policy;
} schedulers[] = {
    {"FCFS", "fcfs"},
    {"VTC", "vtc{extra_charge=on}"},
    {"VTC_predict", "vtc{predict=mean,extra_charge=on}"},
    {"VTC_oracle", "vtc{predict=oracle,extra_charge=on}"},
    {"VTC_pred_50", "vtc{predict=oracle,predict_range=0.5,extra_charge=on}"},
    {"VTC_profile", "vtc{cost=profiled,extra_charge=on}"},
    {"VTC_predict_profile", "vtc{cost=profiled,predict=mean,extra_charge=on}"},
    {"VTC_oracle_profile", "vtc{cost=profiled,predict=oracle,extra_charge=on}"},
    {"VTC_pred_50_profile", "vtc{cost=profiled,predict=oracle,predict_range=0.5,extra_charge=on}"},
    {"LCF", "lcf{extra_charge=on}"},
};

const char *slora_policy(const char *scheduler)
{
    for (size_t i = 0; i < sizeof(schedulers) / sizeof(schedulers[0]); i++) {
        if (strcmp(scheduler, schedulers[i].said) == 0) {
            return schedulers[i].policy;
        }
    }
    return NULL;
}

const char *slora_rpm(int limit, struct arena *ar)
{
    return arena_printf(ar, "rpm{limit=%d}", limit);
}

/* Prompts are two tokens longer on the server, and a request takes 30 ms from the client to the queue
 * (VTC-artifact 192c2e2; both found on its recorded runs). The first step of a run is cold: the first
 * answers of six of the seven recorded `real` runs took 1.16 to 1.28 s, a warm one of that length 0.1
 * to 0.2 s. Of 0, 0.2 ... 1 s, tried against the recorded rejections, 0.8 and 1 s give 176 at a limit
 * of 30 as recorded, the others 175. */
int slora_settings(struct config_args *args, const char *origin, const char *policy, bool a100,
                   double pool_tok, struct arena *ar, struct err *e)
{
    const char *const setting[][2] = {
        {"batcher", "lightllm-slora"},
        {"policy", policy},
        {"cost", a100 ? "linear{set=a100-slora-13b}" : "linear{set=a10g-slora}"},
        {"load.prompt_extra", "2"},
        {"engine.request_delay", "30ms"},
        {"engine.cold_start", "1s"},
    };
    char buf[32];

    for (size_t i = 0; i < sizeof(setting) / sizeof(setting[0]); i++) {
        if (config_args_add(args, origin, setting[i][0], setting[i][1], ar, e) < 0) {
            return e->code;
        }
    }
    if (!isfinite(pool_tok)) {
        return 0;
    }
    return config_args_add(args, origin, "kv.tokens", text_from_double(pool_tok, buf), ar, e);
}
