/* SPDX-License-Identifier: Apache-2.0
 *
 * Included before everything when the batchers are built a second time, bound to the slow engine of
 * batch_mock.c: other names for all that both engines' worlds define. */
#ifndef STEELYARD_MOCK_NAMES_H
#define STEELYARD_MOCK_NAMES_H

#define engine mock_engine
#define eng_admit mock_eng_admit
#define eng_block_tok mock_eng_block_tok
#define eng_chunk mock_eng_chunk
#define eng_context mock_eng_context
#define eng_decode_all mock_eng_decode_all
#define eng_decode_close mock_eng_decode_close
#define eng_decode_need mock_eng_decode_need
#define eng_decode_one mock_eng_decode_one
#define eng_displace mock_eng_displace
#define eng_displaces mock_eng_displaces
#define eng_first_prefilling mock_eng_first_prefilling
#define eng_first_running mock_eng_first_running
#define eng_first_swapped mock_eng_first_swapped
#define eng_hit mock_eng_hit
#define eng_is_decoding mock_eng_is_decoding
#define eng_kept mock_eng_kept
#define eng_kv_free mock_eng_kv_free
#define eng_kv_need mock_eng_kv_need
#define eng_kv_total mock_eng_kv_total
#define eng_last_running mock_eng_last_running
#define eng_left_tok mock_eng_left_tok
#define eng_max_output mock_eng_max_output
#define eng_forecast mock_eng_forecast
#define eng_n_decoding mock_eng_n_decoding
#define eng_n_prefilling mock_eng_n_prefilling
#define eng_n_running mock_eng_n_running
#define eng_n_swapped mock_eng_n_swapped
#define eng_n_waiting mock_eng_n_waiting
#define eng_next_prefilling mock_eng_next_prefilling
#define eng_next_running mock_eng_next_running
#define eng_now mock_eng_now
#define eng_pick mock_eng_pick
#define eng_pick_blocked mock_eng_pick_blocked
#define eng_plan_chunks mock_eng_plan_chunks
#define eng_plan_decodes mock_eng_plan_decodes
#define eng_plan_empty mock_eng_plan_empty
#define eng_plan_prefill_tok mock_eng_plan_prefill_tok
#define eng_planned_output mock_eng_planned_output
#define eng_preempt mock_eng_preempt
#define eng_preempted_now mock_eng_preempted_now
#define eng_refuse mock_eng_refuse
#define eng_req mock_eng_req
#define eng_swap_in mock_eng_swap_in
#define eng_swap_out mock_eng_swap_out
#define eng_victim mock_eng_victim
#define eng_view mock_eng_view
#define auto_switch_choices mock_auto_switch_choices
#define step_chunk_tok mock_step_chunk_tok
#define step_horizon mock_step_horizon
#define step_prefill_debt mock_step_prefill_debt
#define step_displace mock_step_displace
#define step_running mock_step_running
#define step_victim mock_step_victim
#define batcher_lightllm_slora mock_batcher_lightllm_slora
#define batcher_orca mock_batcher_orca
#define batcher_sarathi mock_batcher_sarathi
#define batcher_sglang mock_batcher_sglang
#define batcher_static mock_batcher_static
#define batcher_trtllm mock_batcher_trtllm
#define batcher_vllm_v0 mock_batcher_vllm_v0
#define batcher_vllm_v1 mock_batcher_vllm_v1

#endif
