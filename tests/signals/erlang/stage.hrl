%% What every module of scenarios uses of the stage.
-compile([export_all, nowarn_export_all]).
-import(scenarios, [subject/0, subject/1, trapping/0, trapping/1, trap/0, order/2, finish/2, crash/1]).
-import(scenarios, [fate/1, fate/2, dead/0, heard/0, heard/1, settle/0, ms/1]).
-import(scenarios, [reason/1, word/1, say/2, logged/0]).
